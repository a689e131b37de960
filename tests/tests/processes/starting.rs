//! How nodes start, and what they say when they cannot: unreachable networks, taken ports, damaged
//! files, seats that nobody gave.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use cyxwiz_tests::{Cli, Job, Network, SOON, Stop, eventually, free_port};

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
    let outcome = Cli::new(two.folder(), &data_dir).run(&[
        "node", "run", "--no-mdns", "--join", &one.invite,
    ]);
    outcome.exits(2).says(&["belongs to the network", "--data-dir"]);
}

#[test]
fn damaged_files_are_refused_with_a_way_out_and_left_as_they_are() {
    let (network, mut coordinator, mut laptop) = Network::with_coordinator("damaged");
    let job = Job::short("kept").submit(&laptop.cli());
    coordinator.stop(Stop::Terminate);
    laptop.stop(Stop::Terminate);

    let key = laptop.data_dir.join("key");
    for damage in [&b""[..], b"garbage", &[0; 4096]] {
        refuses(&network, &laptop.data_dir, &key, damage);
    }
    let membership = laptop.data_dir.join("network.json");
    for damage in [&b""[..], b"{\"network\": 1}", b"\xff\xfe"] {
        refuses(&network, &laptop.data_dir, &membership, damage);
    }
    // What was promised is not forgotten in silence.
    let store = files_below(&coordinator.data_dir.join("store"));
    let largest = store.iter().max_by_key(|file| fs::metadata(file).map_or(0, |it| it.len()));
    let largest = largest.expect("a store has files");
    let bytes = fs::read(largest).expect("it can be read");
    let scrambled: Vec<u8> = bytes.iter().map(|byte| byte ^ 0x5a).collect();
    for damage in [&scrambled[..], &bytes[..bytes.len() / 2], b""] {
        refuses(&network, &coordinator.data_dir, largest, damage);
    }

    // With the files as they were, all is as it was.
    coordinator.start_again();
    laptop.start_again();
    eventually(SOON, "the job that was accepted before", || {
        laptop.cli().try_json(&["job", "status", &job])
    });
}

/// A node whose `file` holds `damage` ends and says so, and the file is left alone. Then the file
/// is as it was before.
#[track_caller]
fn refuses(network: &Network, data_dir: &Path, file: &Path, damage: &[u8]) {
    let sound = fs::read(file).expect("the file is there");
    overwrite(file, damage);
    let name = data_dir.file_name().expect("it has a name").to_string_lossy().into_owned();
    let command = ["node", "run", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"];
    let outcome = network.cli(&name).run(&command);
    let outcome = outcome.exits(1).says(&[&data_dir.to_string_lossy()]);
    let ways = ["move it away", "move that directory away", "remove the file"];
    assert!(ways.iter().any(|way| outcome.stderr.contains(way)), "{}", outcome.told());
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.told());
    let after = fs::read(file).expect("the file is still there");
    assert_eq!(after, damage, "{} was changed; {}", file.display(), outcome.told());
    overwrite(file, &sound);
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
