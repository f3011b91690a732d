//! Events for an OpenTelemetry collector: with the cargo feature `otel` they get there, without it npxc says so.

use std::fs;
use std::path::Path;
use std::process::Output;

use super::world::{Audit, world};

/// A run of the fixture under `otel = true`, with the collector there.
fn run(collector: &str, words: &[&str]) -> (Output, Audit) {
    let config = world().scratch("otel");
    fs::create_dir(config.join("npxc")).unwrap();
    fs::write(config.join("npxc/npxc.toml"), "[audit]\notel = true\n").unwrap();
    let fixture = world().fixture();
    let installed = world().command(&["install", path(&fixture)]).output().unwrap();
    assert!(installed.status.success(), "{installed:?}");
    let mut npxc = world().npxc(&[&[path(&fixture)], words].concat());
    npxc.command.env("XDG_CONFIG_HOME", &config).env("OTEL_EXPORTER_OTLP_ENDPOINT", collector);
    npxc.output()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[cfg(not(feature = "otel"))]
#[test]
fn an_npxc_without_it_does_not_run_as_if() {
    let (output, audit) = run("http://127.0.0.1:9", &["exit", "0"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("npxc: error: [audit] says `otel = true`, and this npxc is built without"),
        "{stderr}"
    );
    assert!(stderr.contains("npxc: hint: build it with `cargo build --release --features otel`"), "{stderr}");
    assert!(audit.events().is_empty());
}

#[cfg(feature = "otel")]
mod sent {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use serde_json::Value;

    use super::run;

    /// A collector of the test's own: its port, and what it is sent, request line and body.
    fn collector() -> (u16, Receiver<(String, Vec<u8>)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (send, sent) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let send = send.clone();
                std::thread::spawn(move || serve(stream, &send));
            }
        });
        (port, sent)
    }

    fn serve(mut stream: TcpStream, send: &Sender<(String, Vec<u8>)>) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            let (mut request, mut length) = (String::new(), 0);
            if reader.read_line(&mut request).unwrap_or(0) == 0 {
                return;
            }
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                match line.trim_end().to_ascii_lowercase().split_once(": ") {
                    Some(("content-length", value)) => length = value.parse().unwrap(),
                    Some(_) => {}
                    None => break,
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            send.send((request.trim_end().to_owned(), body)).unwrap();
            let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
            stream.write_all(answer.as_bytes()).unwrap();
        }
    }

    fn attribute<'a>(of: &'a Value, name: &str) -> &'a Value {
        let all = of["attributes"].as_array().unwrap();
        &all.iter().find(|attribute| attribute["key"] == name).unwrap_or_else(|| panic!("{name}: {of}"))["value"]
    }

    #[test]
    fn every_event_reaches_the_collector_and_the_package_does_not() {
        let (port, sent) = collector();
        let urls =
            ["host.npxc.internal", "127.0.0.1", "192.0.2.1"].map(|host| format!("http://{host}:{port}/"));
        let words = ["knock", &urls[0], &urls[1], &urls[2]];
        let (output, audit) = run(&format!("http://127.0.0.1:{port}"), &words);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !stderr.contains("OpenTelemetry"), "{stderr}");
        let mut records = Vec::new();
        for (request, body) in sent.try_iter() {
            assert_eq!(request, "POST /v1/logs HTTP/1.1");
            let body: Value = serde_json::from_slice(&body).unwrap();
            for resource in body["resourceLogs"].as_array().unwrap() {
                assert_eq!(attribute(&resource["resource"], "service.name")["stringValue"], "npxc");
                for scope in resource["scopeLogs"].as_array().unwrap() {
                    records.extend(scope["logRecords"].as_array().unwrap().iter().cloned());
                }
            }
        }
        let events = audit.events();
        assert!(events.len() > 3, "{events:?}");
        let names = |all: &[Value], key: &str| -> Vec<String> {
            all.iter().map(|one| one[key].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&records, "eventName"), names(&events, "event"));
        for (record, event) in records.iter().zip(&events) {
            assert_eq!(attribute(record, "session")["stringValue"], event["session"]);
            let denied = event["event"] == "flow.deny" || !event["reason"].is_null();
            assert_eq!(record["severityText"], if denied { "WARN" } else { "INFO" }, "{record}");
            assert_ne!(record["timeUnixNano"], "0");
            if event["event"] == "flow.deny" {
                assert_eq!(attribute(record, "code")["stringValue"], event["code"]);
            }
        }
    }

    #[test]
    fn a_collector_that_is_down_or_silent_is_one_warning_and_nothing_else() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // The system takes connections for it, and nobody answers.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        for port in [gone, silent.local_addr().unwrap().port()] {
            let (output, audit) = run(&format!("http://127.0.0.1:{port}"), &["say", "hello"]);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && output.stdout == b"hello\n", "{stderr}");
            let said =
                stderr.matches("npxc: warning: events do not reach the OpenTelemetry collector (").count();
            assert_eq!(said, 1, "{stderr}");
            assert_eq!(audit.events().last().unwrap()["event"], "session.end");
        }
    }
}
