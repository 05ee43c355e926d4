//! Credential helpers: programs called `docker-credential-NAME` that keep secrets.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::Error;
use super::auth::{Credentials, Proof, Secret};
use crate::json;

/// How long a helper may take; some ask the user.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a helper's answer.
const MAX_ANSWER: u64 = 64 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: Secret,
}

/// Asks a helper for the credentials of a server; none if it has none.
pub(super) fn get(name: &str, server: &str) -> Result<Option<Credentials>, Error> {
    let broken = |problem: String| Error::Helper {
        name: super::message::bounded(name),
        host: super::message::bounded(server),
        problem,
    };
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(is_plain) {
        return Err(broken("expected a name of letters, digits, '-', '_' and '.'".to_owned()));
    }
    let mut child = Command::new(format!("docker-credential-{name}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| broken(format!("cannot start it: {error}")))?;
    let answer = converse(&mut child, server);
    // In whatever state it is: nobody waits for it any longer.
    let _ = child.kill();
    let _ = child.wait();
    let (success, output) = answer.map_err(broken)?;
    if !success {
        let text = String::from_utf8_lossy(&output);
        // The words of docker-credential-helpers; there is no other way to tell.
        if text.contains("credentials not found in native keychain") {
            return Ok(None);
        }
        return Err(broken("it failed".to_owned()));
    }
    let answer: Answer = json::from_slice(&output)
        .map_err(|_| broken("expected JSON with Username and Secret".to_owned()))?;
    if answer.username.is_empty() && answer.secret.0.is_empty() {
        return Ok(None);
    }
    let proof = if answer.username == "<token>" {
        Proof::IdentityToken(answer.secret)
    } else {
        Proof::Password(answer.secret)
    };
    let source = format!("docker-credential-{name} ({server})");
    Ok(Some(Credentials { source, username: answer.username, proof }))
}

/// Writes the question, reads the answer, waits for the end; whether it succeeded, and said what.
fn converse(child: &mut Child, server: &str) -> Result<(bool, Vec<u8>), String> {
    let deadline = Instant::now() + PATIENCE;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read will say so by its answer.
        let _ = stdin.write_all(server.as_bytes());
    }
    let stdout = child.stdout.take().ok_or("it has no output")?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut output = Vec::new();
        let result = stdout.take(MAX_ANSWER + 1).read_to_end(&mut output).map(|_| output);
        let _ = sender.send(result);
    });
    let output = receiver
        .recv_timeout(PATIENCE)
        .map_err(|_| format!("found no answer within {} s", PATIENCE.as_secs()))?
        .map_err(|error| format!("cannot read its answer: {error}"))?;
    if u64::try_from(output.len()).is_ok_and(|length| length > MAX_ANSWER) {
        return Err(format!("found an answer of more than {MAX_ANSWER} bytes"));
    }
    loop {
        match child.try_wait().map_err(|error| format!("cannot wait for it: {error}"))? {
            Some(status) => return Ok((status.success(), output)),
            None if Instant::now() > deadline => {
                return Err(format!("it did not end within {} s", PATIENCE.as_secs()));
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}
