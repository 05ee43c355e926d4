//! `oci2sysext explain IMAGE|REFERENCE`: what merging an extension does on a host.

use std::io::Read;
use std::path::Path;

use super::{open, terminal};
use crate::cli::ConvertArgs;
use crate::convert::{Progress, draft};
use crate::error::Result;
use crate::explain::{Explanation, HostKernel, explain};
use crate::image::{self, erofs};
use crate::limits::Limits;
use crate::request::Request;
use crate::verify::LayerDescriptor;

/// Explains an image that is there, or one that a reference would be converted to.
pub fn run(args: &ConvertArgs) -> Result<()> {
    let text = args.reference.as_deref().unwrap_or_default();
    let path = Path::new(text);
    let limits = Limits::with(&args.limit);
    let found = if path.is_file() || is_named_as_image(path) {
        let name = path.file_name().and_then(|name| name.to_str());
        let reader = open(path)?;
        let mut found = of_image(&reader, name, &limits)?;
        let erofs::Needs { kernel, options } = reader.needs();
        found.kernel = Some(HostKernel { since: kernel.to_string(), options });
        found
    } else {
        let request = Request::from_args(args)?;
        let name = request.output.path.file_name().and_then(|name| name.to_str());
        let (staged, layers, changes) = draft(&request, &mut Silent)?;
        let file = staged.file().try_clone().map_err(image::Error::Io)?;
        let mut found = of_image(&erofs::Reader::open(file)?, name, &limits)?;
        found.layers = Some(layers);
        found.warnings = changes.warnings;
        found
    };
    let text = if args.json { terminal::json(&found)? } else { found.to_string() };
    Ok(terminal::print(&text)?)
}

/// Whether nothing but an image is meant, be it there or not: no reference looks like `htop.raw`.
fn is_named_as_image(path: &Path) -> bool {
    let is_path = !path.as_os_str().as_encoded_bytes().contains(&b':');
    is_path && path.extension().is_some_and(|end| end == "raw" || end == "cfs")
}

fn of_image(
    reader: &erofs::Reader,
    file_name: Option<&str>,
    limits: &Limits,
) -> Result<Explanation, image::Error> {
    let image = reader.image(limits)?;
    let mut budget = limits.text_file;
    explain(&image.tree, file_name, &mut |located| {
        let size = located.size();
        budget = budget
            .checked_sub(size)
            .ok_or(image::Error::Limit { name: "text-file", limit: limits.text_file })?;
        let mut text = Vec::new();
        reader.contents(located)?.read_to_end(&mut text)?;
        Ok(text)
    })
}

/// Nobody watches.
struct Silent;

impl Progress for Silent {
    fn fetching(&mut self, _: &LayerDescriptor, _: u64) {}
    fn converting(&mut self) {}
}
