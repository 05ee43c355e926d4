//! Blobs over bad connections: rows 71–75.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use oci2sysext::error::ExitCode;
use oci2sysext::oci::{Descriptor, Error, ManifestName, Registry, RetryPolicy};

use crate::common::faults::{Reply, Server, descriptor, noise};
use crate::tools::{code, options, registry};

/// All bytes that the sink gets.
fn download(registry: &mut Registry, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    registry.blob(descriptor, &mut |chunk| {
        bytes.extend_from_slice(chunk);
        Ok::<(), Error>(())
    })?;
    Ok(bytes)
}

#[test]
fn row_71_a_busy_registry_is_waited_for() {
    let blob = noise(1000);
    let content = blob.clone();
    let server = Server::http(move |request, _| {
        if !request.is_for_blob() {
            return Reply::ok("");
        }
        Reply::blob(request, &content)
    });
    let busy = Server::http({
        let url = server.url("127.0.0.1", "");
        move |request, number| match number {
            0 => Reply::ok(""),
            1 => Reply::error(429, "TOOMANYREQUESTS").with("Retry-After", "1"),
            2 | 3 => Reply::error(503, "UNAVAILABLE"),
            _ => Reply::redirect(&format!("{url}{}", request.path)),
        }
    });
    let started = Instant::now();
    let mut registry = registry(&busy.host(), &options());
    assert_eq!(download(&mut registry, &descriptor(&blob)).unwrap(), blob);
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(busy.requests().len(), 5);
}

#[test]
fn row_72_failures_for_ever_end_with_the_budget() {
    for (status, tries) in [(429, 3..100), (500, 2..3), (502, 3..100), (503, 3..100), (504, 3..100)]
    {
        let server = Server::http(move |request, _| {
            if request.path == "/v2/" { Reply::ok("") } else { Reply::new(status, "busy") }
        });
        let mut options = options();
        options.retry.budget = Duration::from_millis(500);
        let mut registry = registry(&server.host(), &options);
        let started = Instant::now();
        let result = download(&mut registry, &descriptor(b"x"));
        assert!(result.as_ref().unwrap_err().to_string().contains("busy"));
        assert_eq!(code(result), ExitCode::Network, "{status}");
        assert!(started.elapsed() < Duration::from_secs(2), "{status}: {:?}", started.elapsed());
        let seen = server.requests().len() - 1;
        assert!(tries.contains(&seen), "{status}: {seen}");
    }
}

#[test]
fn row_72_retry_after_beyond_the_budget_is_not_waited_for() {
    let server = Server::http(|request, _| match request.path.as_str() {
        "/v2/" => Reply::ok(""),
        _ => Reply::error(429, "TOOMANYREQUESTS").with("Retry-After", "3600"),
    });
    let started = Instant::now();
    let mut registry = registry(&server.host(), &options());
    assert_eq!(code(download(&mut registry, &descriptor(b"x"))), ExitCode::Network);
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn row_73_a_connection_reset_at_any_byte_is_resumed() {
    let blob = noise(100_000);
    let content = blob.clone();
    // One cut for each download, wherever the first request's number says.
    let cuts = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::http(move |request, _| {
        if !request.is_for_blob() {
            return Reply::ok("");
        }
        let reply = Reply::blob(request, &content);
        match request.range_start() {
            None => reply.cut(content.len() / 100 * cuts.fetch_add(1, Ordering::SeqCst)),
            Some(_) => reply,
        }
    });
    let mut options = options();
    options.retry.base = Duration::from_millis(1);
    let mut registry = registry(&server.host(), &options);
    for cut in 0..=100 {
        let before = server.sent();
        assert_eq!(download(&mut registry, &descriptor(&blob)).unwrap(), blob, "{cut}");
        let sent = server.sent() - before;
        assert!(sent <= 110_000, "{cut}: {sent}");
    }
}

#[test]
fn row_73_a_hundred_resets_in_one_blob() {
    let blob = noise(100_000);
    let content = blob.clone();
    let server = Server::http(move |request, _| {
        if !request.is_for_blob() {
            return Reply::ok("");
        }
        Reply::blob(request, &content).cut(1000)
    });
    let mut registry = registry(&server.host(), &options());
    assert_eq!(download(&mut registry, &descriptor(&blob)).unwrap(), blob);
    assert!(server.sent() <= 110_000, "{}", server.sent());
}

#[test]
fn row_73_a_registry_that_gives_a_byte_at_a_time_is_given_up() {
    let server = Server::http(|request, _| {
        if !request.is_for_blob() {
            return Reply::ok("");
        }
        Reply::blob(request, &vec![7; 100_000]).cut(1)
    });
    let mut registry = registry(&server.host(), &options());
    assert_eq!(code(download(&mut registry, &descriptor(&vec![7; 100_000]))), ExitCode::Network);
    assert!(server.requests().len() < 50);
}

#[test]
fn row_74_a_stalled_connection_is_replaced() {
    let blob = noise(50_000);
    let content = blob.clone();
    let server = Server::http(move |request, _| {
        if !request.is_for_blob() {
            return Reply::ok("");
        }
        let reply = Reply::blob(request, &content);
        let stalls = request.range_start().is_none();
        if stalls { reply.stall(20_000, Duration::from_secs(60)) } else { reply }
    });
    let started = Instant::now();
    let mut registry = registry(&server.host(), &options());
    assert_eq!(download(&mut registry, &descriptor(&blob)).unwrap(), blob);
    // At 20 kB a first period of 300 ms is fast enough; the second brings nothing.
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn row_74_a_registry_that_always_stalls_is_given_up() {
    let content = noise(5000);
    let digest = descriptor(&content);
    for silent_from_the_start in [true, false] {
        let content = content.clone();
        let server = Server::http(move |request, _| {
            if request.path == "/v2/" {
                return Reply::ok("");
            }
            if silent_from_the_start {
                std::thread::sleep(Duration::from_secs(8));
            }
            Reply::blob(request, &content).stall(0, Duration::from_secs(8))
        });
        let mut options = options();
        options.retry.budget = Duration::from_secs(1);
        let started = Instant::now();
        let mut registry = registry(&server.host(), &options);
        assert_eq!(code(download(&mut registry, &digest)), ExitCode::Network);
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
}

#[test]
fn row_75_a_range_answered_with_everything_is_discarded_once() {
    let blob = noise(10_000);
    for (cuts, expected) in [(1, None), (2, Some(ExitCode::Network))] {
        let content = blob.clone();
        let server = Server::http(move |request, number| {
            let reply = Reply::ok(if request.is_for_blob() { content.clone() } else { vec![] });
            if request.is_for_blob() && number <= cuts { reply.cut(4000 * number) } else { reply }
        });
        let mut registry = registry(&server.host(), &options());
        let result = download(&mut registry, &descriptor(&blob));
        match expected {
            None => assert_eq!(result.unwrap(), blob),
            Some(expected) => assert_eq!(code(result), expected),
        }
    }
}

#[test]
fn row_75_a_wrong_content_range_is_an_error() {
    let blob = noise(10_000);
    for range in ["bytes 0-9999/10000", "bytes 4001-9999/10000", "bytes 4000-9998/10000", ""] {
        let content = blob.clone();
        let server = Server::http(move |request, _| match request.range_start() {
            _ if !request.is_for_blob() => Reply::ok(""),
            None => Reply::ok(content.clone()).cut(4000),
            Some(start) => {
                let reply = Reply::new(206, &content[start..]);
                if range.is_empty() { reply } else { reply.with("Content-Range", range) }
            }
        });
        let mut registry = registry(&server.host(), &options());
        assert_eq!(code(download(&mut registry, &descriptor(&blob))), ExitCode::Network, "{range}");
    }
}

#[test]
fn row_39_a_blob_is_given_as_it_is_and_not_further() {
    let server =
        Server::http(
            |request, _| {
                if request.is_for_blob() { Reply::ok("0123456789") } else { Reply::ok("") }
            },
        );
    let mut registry = registry(&server.host(), &options());
    let sized = |size| Descriptor { size, ..descriptor(b"0123456789") };
    // Whether that is an error is the caller's to say; one byte more is enough for it to see.
    assert_eq!(download(&mut registry, &sized(10)).unwrap(), b"0123456789");
    assert_eq!(download(&mut registry, &sized(5)).unwrap(), b"012345");
    assert_eq!(download(&mut registry, &sized(20)).unwrap(), b"0123456789");
    assert_eq!(registry.blob_bytes(&sized(10), 10).unwrap(), b"0123456789");
    for size in [5, 9, 11, 20] {
        assert_eq!(code(registry.blob_bytes(&sized(size), 100)), ExitCode::Integrity);
    }
    let other = Descriptor { digest: descriptor(b"other").digest, ..sized(10) };
    assert_eq!(code(registry.blob_bytes(&other, 100)), ExitCode::Integrity);
    let before = server.requests().len();
    assert_eq!(code(registry.blob_bytes(&sized(10), 9)), ExitCode::Limit);
    assert_eq!(server.requests().len(), before);
}

#[test]
fn a_body_without_length_that_ends_early_is_resumed() {
    let blob = noise(10_000);
    let content = blob.clone();
    let server = Server::http(move |request, _| match request.range_start() {
        _ if !request.is_for_blob() => Reply::ok(""),
        None => Reply { endless: true, ..Reply::ok(content.clone()).cut(4000) },
        Some(_) => Reply { endless: true, ..Reply::blob(request, &content) },
    });
    let mut registry = registry(&server.host(), &options());
    assert_eq!(download(&mut registry, &descriptor(&blob)).unwrap(), blob);
}

#[test]
fn an_error_of_the_sink_ends_the_download() {
    #[derive(Debug)]
    enum Failure {
        Disk(io::Error),
        Registry,
    }
    impl From<Error> for Failure {
        fn from(_: Error) -> Self {
            Self::Registry
        }
    }
    let server = Server::http(|_, _| Reply::ok("0123456789"));
    let mut registry = registry(&server.host(), &options());
    let result = registry
        .blob(&descriptor(b"0123456789"), &mut |_| Err(Failure::Disk(io::Error::other("full"))));
    assert!(matches!(result, Err(Failure::Disk(error)) if error.to_string() == "full"));
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_refused_connection_is_tried_twice() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let mut options = options();
    options.tls_verify = true;
    options.retry = RetryPolicy { base: Duration::from_millis(50), ..options.retry };
    let started = Instant::now();
    let result = registry(&host, &options).manifest(ManifestName::Tag("latest"));
    let text = result.as_ref().unwrap_err().to_string();
    assert!(text.contains("after 2 tries") && text.contains("refused"), "{text}");
    assert_eq!(code(result), ExitCode::Network);
    assert!(started.elapsed() < Duration::from_secs(1));
}
