//! The image of a layout in a registry on loopback that fails as a test wants.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::faults::{Reply, Request, Server};
use super::layout::{Layout, REPOSITORY};
use super::sign::Key;

/// The tag of the image; the extension is called `tool` after it.
pub const TAG: &str = "1.tool";

/// A registry with one image, in whatever repository.
pub struct Hub {
    /// The server below, with all that it was asked.
    pub server: Server,
}

impl Hub {
    /// A registry that does nothing wrong.
    pub fn new(layout: &Layout) -> Self {
        Self::failing(layout, |_, _, reply| reply)
    }

    /// `fault` gets each request, how many came before it for the same path, and the reply of a
    /// good registry, and gives the reply that is sent.
    pub fn failing(
        layout: &Layout,
        fault: impl Fn(&Request, usize, Reply) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self { server: Server::http(replies(layout, fault)) }
    }

    /// The same with TLS.
    pub fn failing_tls(
        tls: Arc<rustls::ServerConfig>,
        layout: &Layout,
        fault: impl Fn(&Request, usize, Reply) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self { server: Server::https(tls, replies(layout, fault)) }
    }

    /// The image, as references name it.
    pub fn reference(&self) -> String {
        format!("{}/test/image:{TAG}", self.server.host())
    }

    /// The arguments that convert the image, which is signed under the name of all layouts.
    pub fn arguments(&self, key: &Key) -> Vec<String> {
        arguments(&self.reference(), key)
    }

    /// How often what ends so was asked for.
    pub fn asked_for(&self, end: &str) -> usize {
        self.server.requests().iter().filter(|request| request.path.ends_with(end)).count()
    }
}

/// The arguments that convert an image that is signed under the name of all layouts.
pub fn arguments(reference: &str, key: &Key) -> Vec<String> {
    vec![
        reference.to_owned(),
        "--tls-verify=false".to_owned(),
        format!("--signed-identity={REPOSITORY}"),
        format!("--key={}", key.public().display()),
        "--output=image.raw".to_owned(),
    ]
}

fn replies(
    layout: &Layout,
    fault: impl Fn(&Request, usize, Reply) -> Reply + Send + Sync + 'static,
) -> impl Fn(&Request, usize) -> Reply + Send + Sync + 'static {
    let documents = layout.documents(TAG);
    let counts = Mutex::new(BTreeMap::<String, usize>::new());
    move |request, _| {
        let before = {
            let mut counts = counts.lock().expect("no panic in another thread");
            let count = counts.entry(request.path.clone()).or_default();
            *count += 1;
            *count - 1
        };
        let place = ["/manifests/", "/blobs/"].iter().find_map(|kind| request.path.find(kind));
        let found = place.and_then(|at| documents.get(request.path.get(at + 1..)?));
        let reply = match found {
            Some((media_type, bytes)) => {
                Reply::blob(request, bytes).with("Content-Type", media_type)
            }
            None if request.path == "/v2/" => Reply::ok("{}"),
            None => Reply::error(404, "MANIFEST_UNKNOWN"),
        };
        fault(request, before, reply)
    }
}
