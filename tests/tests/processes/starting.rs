//! How nodes start, and what they say when they cannot: unreachable networks, taken ports, damaged
//! files, seats that nobody gave.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use cyxwiz_tests::{Cli, Job, Network, Node, SOON, Stop, eventually, free_port};

/// An address at which nobody is: the discard port of this machine, and some peer.
const NOWHERE: &str =
    "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";

#[test]
fn without_a_node_every_command_says_how_to_get_one() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let cli = Cli::new(folder.path(), &folder.path().join("nobody"));
    for command in [
        &["node", "status"][..],
        &["node", "peers"],
        &["node", "workers"],
        &["job", "list"],
        &["job", "status", "last"],
        &["job", "wait", "last"],
        &["job", "cancel", "last"],
    ] {
        cli.run(command).exits(3).says(&["no node is running", "nobody", "cyxwiz node run"]);
    }
    cli.run(&["node", "run", "--no-mdns"]).exits(2).says(&["no network yet", "--join"]);
    cli.run(&["job", "list", "--join", NOWHERE]).exits(3).says(&["127.0.0.1/tcp/9"]);
    cli.run(&["job", "list", "--join", "somewhere"]).exits(2).says(&["somewhere", "invite"]);
    cli.run(&["job"]).exits(2);
    cli.run(&["jobs"]).exits(2).says(&["job"]);
}

#[test]
fn a_node_keeps_trying_to_join_and_gets_in_when_the_network_comes_up() {
    let port = free_port();
    // The network is known from an earlier day, when it listened at this port.
    let mut network = Network::listening_on("late", port);
    network.bootstrap.stop(Stop::Kill);
    let waiting = network.node("waiting", &[]);
    let tries = |log: &str| log.matches("trying again").count();
    let log = eventually(SOON, "three tries", || {
        let log = waiting.log();
        if tries(&log) >= 3 { Ok(log) } else { Err(log) }
    });
    let pauses = pauses(&log);
    assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]), "pauses grow: {pauses:?}");
    assert!(pauses.last() > pauses.first(), "pauses grow: {pauses:?}");
    waiting.cli().run(&["job", "list"]).exits(3);

    network.start_bootstrap_again();
    eventually(SOON, "the node to join", || {
        let status = waiting.cli().try_json(&["node", "status"])?;
        if status["connected"] == 1 { Ok(()) } else { Err(waiting.log()) }
    });
}

/// How long each failed try said that it would wait, in milliseconds.
fn pauses(log: &str) -> Vec<u64> {
    let number = |rest: &str| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    log.split("retry_ms=").skip(1).filter_map(number).collect()
}

#[test]
fn a_taken_port_a_second_node_and_a_missing_seat_are_told_apart() {
    let (network, coordinator, laptop) = Network::with_coordinator("taken");
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has ports");
    let port = listener.local_addr().expect("it is bound").port();
    let (tcp, api) = (format!("/ip4/127.0.0.1/tcp/{port}"), format!("127.0.0.1:{port}"));
    let run = |name: &str, options: &[&str]| {
        let base = ["node", "run", "--no-mdns", "--join", &network.invite];
        network.cli(name).run(&[&base, options].concat())
    };
    let words = ["in use", &port.to_string()];
    run("tcp", &["--listen", &tcp]).exits(1).says(&words);
    run("api", &["--listen", "/ip4/127.0.0.1/tcp/0", "--api", &api]).exits(1).says(&words);

    // A second node on the same directory, while the first goes on.
    let here = ["--listen", "/ip4/127.0.0.1/tcp/0"];
    run("laptop", &here).exits(1).says(&["laptop", "another"]);
    laptop.cli().run(&["node", "status"]).succeeds();

    run("usurper", &[&here[..], &["--coordinator"]].concat())
        .exits(2)
        .says(&["no seat", "coordinator's invite"]);
    coordinator.cli().run(&["node", "status"]).succeeds();
}

#[test]
fn networks_of_one_name_do_not_mix() {
    let (one, _coordinator, laptop) = Network::with_coordinator("same");
    let (two, _other_coordinator, other) = Network::with_coordinator("same");
    let _worker = one.worker("worker", &["--memory-mb", "1024"]);
    laptop.awaits_workers(1);
    // Told of both, it stays with the one that its directory belongs to.
    let torn = other.cli().json(&["node", "status"]);
    let mixed = two.node("torn", &["--join", &one.address]);
    eventually(SOON, "the right network", || {
        let status = mixed.cli().try_json(&["node", "status"])?;
        if status["committee"].is_object() { Ok(()) } else { Err(status.to_string()) }
    });
    let status = mixed.cli().json(&["node", "status"]);
    assert_eq!(status["committee"]["leader"], torn["committee"]["leader"], "{status:#}");
    assert_eq!(mixed.cli().json(&["node", "workers"]), serde_json::json!([]));

    let job = Job::short("mine").submit(&laptop.cli());
    laptop.awaits(&job, "completed");
    assert_eq!(other.cli().json(&["job", "list", "--all"]), serde_json::json!([]));
    other.cli().run(&["job", "status", &job]).exits(102);
    // A directory belongs to one network.
    let data_dir = other.data_dir.clone();
    drop(other);
    let outcome =
        Cli::new(two.folder(), &data_dir).run(&["node", "run", "--no-mdns", "--join", &one.invite]);
    outcome.exits(2).says(&["belongs to the network", "--data-dir"]);
}

#[test]
fn damaged_files_are_refused_with_a_way_out_and_left_as_they_are() {
    let (network, _coordinator, mut laptop) = Network::with_coordinator("damaged");
    laptop.stop(Stop::Terminate);
    let key = laptop.data_dir.join("key");
    for damage in [&b""[..], b"garbage", &[0; 4096]] {
        is_refused(&network, &laptop, &key, damage);
        assert!(fs::read(&key).expect("it is there") == damage, "the key file was changed");
    }
    drop(laptop);

    let mut other = network.node("other", &[]);
    other.stop(Stop::Terminate);
    let membership = other.data_dir.join("network.json");
    let sound = fs::read(&membership).expect("it is there");
    for damage in [&b""[..], b"{\"network\": 1}", b"\xff\xfe"] {
        is_refused(&network, &other, &membership, damage);
        assert!(fs::read(&membership).expect("it is there") == damage, "it was changed");
    }
    overwrite(&membership, &sound);
    other.start_again();
}

#[test]
fn a_damaged_store_is_refused_and_works_again_once_its_files_are_back() {
    let (network, mut coordinator, laptop) = Network::with_coordinator("store");
    let job = Job::short("kept").submit(&laptop.cli());
    coordinator.stop(Stop::Terminate);
    let store = Files::below(&coordinator.data_dir.join("store"));
    for damage in store.damages() {
        is_refused(&network, &coordinator, &store.largest, &damage);
        store.put_back();
    }
    coordinator.start_again();
    eventually(SOON, "the job that was accepted before", || {
        laptop.cli().try_json(&["job", "status", &job])
    });
}

#[test]
fn a_damaged_store_is_left_as_it_is() {
    let (network, mut coordinator, laptop) = Network::with_coordinator("left");
    let _job = Job::short("kept").submit(&laptop.cli());
    coordinator.stop(Stop::Terminate);
    let store = Files::below(&coordinator.data_dir.join("store"));
    for damage in store.damages() {
        is_refused(&network, &coordinator, &store.largest, &damage);
        let after = fs::read(&store.largest).expect("it is still there");
        assert!(after == damage, "{} was changed", store.largest.display());
        store.put_back();
    }
}

/// A node whose `file` holds `damage` does not start, and says what to do.
#[track_caller]
fn is_refused(network: &Network, node: &Node, file: &Path, damage: &[u8]) {
    overwrite(file, damage);
    let command = ["node", "run", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"];
    let outcome = network.cli(&node.name).run(&command);
    let outcome = outcome.exits(1).says(&[&node.data_dir.to_string_lossy()]);
    let ways = ["move it away", "move that directory away", "remove the file"];
    assert!(ways.iter().any(|way| outcome.stderr.contains(way)), "{}", outcome.told());
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.told());
}

/// The files of a store as they were when it was closed in order.
struct Files {
    folder: PathBuf,
    content: Vec<(PathBuf, Vec<u8>)>,
    largest: PathBuf,
}

impl Files {
    fn below(folder: &Path) -> Self {
        let read = |path: PathBuf| (fs::read(&path).expect("it can be read"), path);
        let content: Vec<_> =
            files_below(folder).into_iter().map(read).map(|(bytes, path)| (path, bytes)).collect();
        let largest = content.iter().max_by_key(|(_, bytes)| bytes.len());
        let largest = largest.expect("a store has files").0.clone();
        Self { folder: folder.to_owned(), content, largest }
    }

    /// What may become of the largest file: scrambled, cut off, emptied.
    fn damages(&self) -> [Vec<u8>; 3] {
        let (_, bytes) =
            self.content.iter().find(|(path, _)| *path == self.largest).expect("it is one of them");
        let scrambled = bytes.iter().map(|byte| byte ^ 0x5a).collect();
        [scrambled, bytes[..bytes.len() / 100].to_vec(), Vec::new()]
    }

    fn put_back(&self) {
        for path in files_below(&self.folder) {
            fs::remove_file(path).expect("it is ours");
        }
        for (path, bytes) in &self.content {
            fs::write(path, bytes).expect("it is ours");
        }
    }
}

/// In place: the file keeps its permissions.
fn overwrite(file: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    let before = fs::metadata(file).expect("the file is there").permissions();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("it is ours");
    fs::write(file, bytes).expect("it can be written");
    fs::set_permissions(file, before).expect("it is ours");
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it can be read").flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}
