//! `oci2sysext verify REFERENCE`: whether an image would be accepted, and why; no layer is fetched.

use std::path::Path;

use super::terminal;
use crate::admit::Found;
use crate::cli::VerifyArgs;
use crate::error::Result;
use crate::escape::Escaped;
use crate::oci::{Digest, Platform, Reference};
use crate::publish;
use crate::report::{self, Finding, Verification, Warning};
use crate::request::Wanted;

/// Examines the image, and says what was found.
pub fn run(args: &VerifyArgs) -> Result<()> {
    terminal::log(args.quiet, args.verbose);
    let mut found = Verification {
        tool: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        accepted: false,
        source: None,
        digest: None,
        pinned: None,
        signature: None,
        signatures: Vec::new(),
        warnings: Vec::new(),
        error: None,
    };
    let result = examine(args, &mut found).and_then(|()| write_digest(args, &found));
    found.accepted = result.is_ok();
    found.error = result.as_ref().err().map(crate::error::Error::to_json);
    if !args.quiet {
        terminal::say(talk(args, &found));
    }
    print(args, &found)?;
    result
}

/// All that a conversion demands before it fetches a layer.
fn examine(args: &VerifyArgs, found: &mut Verification) -> Result<()> {
    let wanted = Wanted::from_args(args)?;
    let image = Found::find(&wanted)?;
    let resolved = image.resolved();
    let of_source = found.source.insert(report::Source {
        reference: wanted.reference.to_string(),
        manifest: resolved.manifest.digest,
        index: resolved.index.as_ref().map(|index| index.digest),
        platform: wanted.platform.clone().unwrap_or_else(Platform::host).to_string(),
        created: None,
    });
    let examination = image.examine()?;
    found.signatures = examination.findings();
    let admitted = examination.admit()?;
    of_source.platform = admitted.config.platform.to_string();
    of_source.created.clone_from(&admitted.config.created);
    if let Some(message) = admitted.bound.check_name(false)? {
        found.warnings.push(Warning { rule: "row 37", message });
    }
    found.digest = admitted.signed;
    found.pinned = admitted.signed.and_then(|digest| pinned(&wanted.reference, digest));
    found.signature = Some(admitted.signature);
    admitted.bound.record();
    Ok(())
}

/// The image by the digest that was verified; a directory has no such name.
fn pinned(reference: &Reference, digest: Digest) -> Option<String> {
    match reference {
        Reference::Registry { repository, .. } => Some(format!("{repository}@{digest}")),
        _ => None,
    }
}

/// Without a line end, as `--digestfile` of podman and skopeo has it.
fn write_digest(args: &VerifyArgs, found: &Verification) -> Result<()> {
    match (&args.output_manifest_digest, found.digest) {
        (Some(path), Some(digest)) if path != Path::new("-") => {
            Ok(publish::report(path, digest.to_string().as_bytes())?)
        }
        _ => Ok(()),
    }
}

/// Data: the report, or the one line that later steps want.
fn print(args: &VerifyArgs, found: &Verification) -> Result<(), publish::Error> {
    if args.json {
        return terminal::print_json(found);
    }
    if !found.accepted {
        return Ok(());
    }
    let wants_digest = args.output_manifest_digest.as_deref() == Some(Path::new("-"));
    let digest = found.digest.map(|digest| digest.to_string());
    match found.pinned.clone().filter(|_| !wants_digest).or(digest) {
        Some(line) => terminal::print(&format!("{line}\n")),
        None => Ok(()),
    }
}

/// What people read: each signature, and why it counts or not.
fn talk(args: &VerifyArgs, found: &Verification) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    let reference = Escaped(args.reference.as_bytes());
    let verdict = if found.accepted { "accepted" } else { "not accepted" };
    // Strings take everything.
    let _ = writeln!(text, "{reference}: {verdict}");
    if let Some(report::Signature::Verified { trust, .. }) = &found.signature {
        let _ = writeln!(text, "  trust: {trust}");
    }
    let several = found.signatures.iter().any(|finding| finding.requirement > 1);
    for finding in &found.signatures {
        let Finding { origin, requirement, signer, identity, reason, .. } = finding;
        let of = if several { format!("requirement {requirement}: ") } else { String::new() };
        let verdict = match (signer, identity, reason) {
            (Some(signer), Some(identity), _) if identity.is_empty() => {
                format!("accepted, by {} (names no repository)", signer.name())
            }
            (Some(signer), Some(identity), _) => {
                format!("accepted, by {} as {identity}", signer.name())
            }
            (.., reason) => format!("not accepted: {}", reason.as_deref().unwrap_or_default()),
        };
        let _ = writeln!(text, "  {of}{origin}: {verdict}");
    }
    for Warning { rule, message } in &found.warnings {
        let _ = writeln!(text, "  warning: {message} [{rule}]");
    }
    text
}
