//! What a registry says about a failure, made fit to print (row 63).

use std::fmt::Write;

use oci_client::errors::{OciEnvelope, OciErrorCode};
use reqwest::StatusCode;
use url::Url;

use crate::escape::Escaped;

/// Bytes that are read of the body of an answer that means failure.
pub(super) const MAX_BODY: usize = 8 << 10;
/// Characters that are shown of any text from outside.
const MAX_TEXT: usize = 300;

/// A text from outside: escaped, and not longer than a message should be.
pub(super) fn bounded(text: &str) -> String {
    let shown = Escaped(text.as_bytes()).to_string();
    match shown.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", shown.get(..end).unwrap_or_default()),
        None => shown,
    }
}

/// An address without user, query and fragment, which may hold secrets.
pub(super) fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    bounded(&format!(
        "{}://{}{port}{}",
        url.scheme(),
        url.host_str().unwrap_or_default(),
        url.path()
    ))
}

/// The body of an answer that means failure.
#[derive(Debug)]
pub(super) struct Message {
    envelope: Option<OciEnvelope>,
    text: String,
}

impl Message {
    /// Reads the error envelope of the distribution specification, or whatever text is there.
    pub fn new(body: &[u8]) -> Self {
        let envelope: Option<OciEnvelope> =
            serde_json::from_slice(body).ok().filter(|e: &OciEnvelope| !e.errors.is_empty());
        let text = String::from_utf8_lossy(body);
        // A page for people does not fit a line.
        let is_page = text.trim_start().starts_with('<');
        let text = if is_page { String::new() } else { text.trim().to_owned() };
        Self { envelope, text }
    }

    /// `": CODE: message"` for each error, or an excerpt, or nothing.
    pub fn suffix(&self) -> String {
        let mut text = String::new();
        match &self.envelope {
            Some(envelope) => {
                for error in envelope.errors.iter().take(3) {
                    let separator = if text.is_empty() { "" } else { "; " };
                    let code = code(&error.code);
                    let _ = write!(text, "{separator}{code}: {}", error.message);
                }
            }
            None => text.clone_from(&self.text),
        }
        if text.is_empty() { text } else { format!(": {}", bounded(&text)) }
    }

    /// Whether it means that there is no such manifest or blob (L1), and not that something is
    /// wrong: what registries are known to say, and a bare 404.
    pub fn is_absence(&self, status: StatusCode) -> bool {
        let Some(envelope) = &self.envelope else { return status == StatusCode::NOT_FOUND };
        let client_error = status.is_client_error();
        client_error
            && envelope.errors.iter().all(|error| match &error.code {
                OciErrorCode::ManifestUnknown => true,
                OciErrorCode::BlobUnknown
                | OciErrorCode::ManifestBlobUnknown
                | OciErrorCode::NameUnknown
                | OciErrorCode::NotFound => status == StatusCode::NOT_FOUND,
                // registry.redhat.io
                OciErrorCode::Other(code) if code == "UNKNOWN" => {
                    status == StatusCode::NOT_FOUND && error.message == "Not Found"
                }
                _ => false,
            })
    }
}

/// The code as it was written.
fn code(code: &OciErrorCode) -> String {
    match serde_json::to_value(code) {
        Ok(serde_json::Value::String(code)) => code,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_envelope_is_told_on_one_line() {
        let message = Message::new(
            b"{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\\n\\u001b[31m\"},{\"code\":\"X\"}]}",
        );
        assert_eq!(message.suffix(), ": DENIED: no\\x0a\\x1b[31m; X: ");
        assert_eq!(Message::new(b"out of\x07 order\n").suffix(), ": out of\\x07 order");
        assert_eq!(Message::new(b" <html>").suffix(), "");
        assert_eq!(Message::new(b"").suffix(), "");
        assert!(Message::new(&[b'x'; 9000]).suffix().chars().count() < 310);
    }

    #[test]
    fn only_an_absence_is_an_absence() {
        let absence = |status: u16, body: &str| {
            Message::new(body.as_bytes()).is_absence(StatusCode::from_u16(status).unwrap())
        };
        assert!(absence(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"x"}]}"#));
        assert!(absence(404, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#));
        assert!(absence(404, r#"{"errors":[{"code":"UNKNOWN","message":"Not Found"}]}"#));
        assert!(absence(404, ""));
        assert!(absence(404, "404 page not found"));
        assert!(!absence(404, r#"{"errors":[{"code":"DENIED"}]}"#));
        assert!(!absence(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"},{"code":"DENIED"}]}"#));
        assert!(!absence(500, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#));
        assert!(!absence(403, ""));
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_fits_a_line(body: Vec<u8>, message: String) {
            let code = serde_json::json!({"code": message, "message": message});
            let envelope = serde_json::json!({"errors": [code]}).to_string();
            for body in [body, message.into_bytes(), envelope.into_bytes()] {
                let text = Message::new(&body).suffix();
                proptest::prop_assert!(!text.chars().any(char::is_control), "{text:?}");
                proptest::prop_assert!(text.chars().count() <= MAX_TEXT + 3);
            }
        }
    }

    #[test]
    fn addresses_are_shown_without_secrets() {
        let url = "https://u:p@a.test:8443/v2/x?X-Amz-Signature=1#f".parse().unwrap();
        assert_eq!(shown(&url), "https://a.test:8443/v2/x");
    }
}
