//! The program from outside: what it prints, that it is found, and how it ends.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cyxwiz_net::ask_network;
use cyxwiz_protocol::Network;
use cyxwiz_protocol::charter::Invite;
use serde_json::Value;

fn program(dir: &Path, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cyxwiz-bootstrap"));
    command.args(["--listen", listen, "--network", "lab", "--json"]);
    command.args(["--health", "127.0.0.1:0", "--data-dir"]).arg(dir);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    fn start(dir: &Path) -> Self {
        let mut child = program(dir, "/ip4/127.0.0.1/tcp/0").spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().expect("a line").unwrap()).unwrap()
    }

    fn stop(mut self, signal: &str) -> i32 {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().expect("ended by itself");
            }
            assert!(Instant::now() < deadline, "does not stop");
            std::thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_how_to_join_serves_health_and_stops_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Running::start(dir.path());
    let listening = first.line();
    assert_eq!(listening["event"], "listening");
    let invite: Invite = listening["invite"].as_str().unwrap().parse().unwrap();
    assert!(invite.ticket.is_none(), "what is printed is public");
    let address = listening["addresses"][0].as_str().unwrap().parse().unwrap();
    let fact = ask_network(&address, Duration::from_secs(20)).await.unwrap();
    assert_eq!(Network::from_fact(&fact).unwrap(), invite.network);
    let private = std::fs::read_to_string(dir.path().join("coordinator.invite")).unwrap();
    assert!(private.parse::<Invite>().unwrap().ticket.is_some());
    let health = first.line();
    let url = health["url"].as_str().unwrap().to_owned();
    let page = tokio::task::spawn_blocking(move || http_get(&url)).await.unwrap();
    assert!(page.contains("\"status\":\"ok\"") && page.contains("200 OK"), "{page}");
    assert_eq!(first.stop("-TERM"), 0);

    let mut again = Running::start(dir.path());
    assert_eq!(again.line()["peer_id"], listening["peer_id"], "the key is kept");
    assert_eq!(again.stop("-INT"), 0);
}

fn http_get(url: &str) -> String {
    use std::io::{Read, Write};
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

#[test]
fn what_stops_it_is_said_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = program(dir.path(), &format!("/ip4/127.0.0.1/tcp/{port}")).output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("error:") && words.contains(&port.to_string()), "{words}");
    assert!(words.contains("hint:") && words.contains("--listen"), "{words}");
    assert!(output.stdout.is_empty(), "no data where there is none");

    std::fs::write(dir.path().join("key"), b"damaged").unwrap();
    let output = program(dir.path(), "/ip4/127.0.0.1/tcp/0").output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("is damaged") && words.contains("key"), "{words}");
    assert_eq!(std::fs::read(dir.path().join("key")).unwrap(), b"damaged");

    let output = program(dir.path(), "nonsense").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_new_committee_needs_a_network_and_somebodys_word() {
    let dir = tempfile::tempdir().unwrap();
    let force = |options: &[&str]| {
        let mut command = program(dir.path(), "/ip4/127.0.0.1/tcp/0");
        command.arg("--force-new-committee").args(options).stdin(Stdio::null());
        let output = command.output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), words, String::from_utf8(output.stdout).unwrap())
    };
    let (code, words, _) = force(&["--yes"]);
    assert!(code == Some(1) && words.contains("holds no charter"), "{words}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");

    let mut peer = Running::start(dir.path());
    assert_eq!(peer.line()["event"], "listening");
    let (code, words, said) = force(&[]);
    assert_eq!(code, Some(0), "nobody has founded yet, so nobody is asked: {words}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["event"], &said["changed"]), (&"new_committee".into(), &false.into()));
    assert_eq!(peer.stop("-TERM"), 0);

    let file = dir.path().join("founding.json");
    std::fs::write(&file, b"{\"generation\": 3, \"founding\": 7}").unwrap();
    for options in [&[][..], &["--yes"]] {
        let (code, words, _) = force(options);
        assert_eq!(code, Some(1), "{words}");
        assert!(words.contains("founding.json") && words.contains("hint:"), "{words}");
    }
    let output = program(dir.path(), "/ip4/127.0.0.1/tcp/0").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "it does not start on a damaged decision");
    assert_eq!(std::fs::read(&file).unwrap(), b"{\"generation\": 3, \"founding\": 7}");
    let output = program(dir.path(), "/ip4/127.0.0.1/tcp/0").arg("--yes").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "--yes agrees to something");
}
