//! A way to a registry that counts what comes back.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// A port on loopback that leads to another one.
#[derive(Debug)]
pub struct Meter {
    address: String,
    count: Arc<AtomicU64>,
}

impl Meter {
    /// Leads to `target`.
    pub fn new(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let count = Arc::new(AtomicU64::new(0));
        let (target, counted) = (target.to_owned(), Arc::clone(&count));
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.expect("a client");
                let server = TcpStream::connect(&target).expect("the registry");
                let counted = Arc::clone(&counted);
                // Whoever goes away ends the connection, and no test.
                thread::spawn(move || pass(&client, &server, &counted));
            }
        });
        Self { address, count }
    }

    /// Host and port, as references name them.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many bytes came back since this was asked last.
    pub fn take(&self) -> u64 {
        self.count.swap(0, Ordering::SeqCst)
    }
}

fn pass(client: &TcpStream, server: &TcpStream, count: &AtomicU64) -> io::Result<()> {
    let (mut requests, mut to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let copied = io::copy(&mut requests, &mut to_server);
        to_server.shutdown(Shutdown::Write).and(copied)
    });
    let (mut answers, mut to_client) = (server, client);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = answers.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
        count.fetch_add(u64::try_from(length).unwrap_or_default(), Ordering::SeqCst);
        to_client.write_all(bytes)?;
    }
    client.shutdown(Shutdown::Both)
}
