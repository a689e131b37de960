//! A committee begins once: the charter says where, and only a person makes it begin anew. Who
//! comes when its leader is gone still learns who it was.

use std::{fs, path::Path};

use cyxwiz_tests::{Network, Node, SOON, Stop, eventually, free_port};
use serde_json::Value;

#[test]
fn of_two_coordinators_started_at_once_one_founds() {
    let network = Network::new("founding");
    let invite = ["--coordinator", "--join", &network.coordinator_invite];
    // None waits for the other.
    let mut both = ["one", "two"].map(|name| network.launch(name, &invite));
    let peers = both.each_mut().map(|it| text(&it.document()["peer"]));
    let laptop = network.node("laptop", &[]);
    laptop.awaits_coordinator();

    let founders: Vec<_> = eventually(SOON, "a founder", || {
        let kept = ["one", "two"].map(|name| founding(&network.folder().join(name)));
        let founders: Vec<_> = kept.iter().filter(|it| it.is_object()).cloned().collect();
        if founders.is_empty() { Err(format!("{kept:?}")) } else { Ok(founders) }
    });
    assert_eq!(founders.len(), 1, "{founders:?}");
    assert_eq!(founders[0], founding_of(&network), "as the bootstrap peer decided");
    let leader = leader(&laptop);
    assert!(peers.contains(&leader), "{leader} of {peers:?}");
    for name in ["one", "two"] {
        eventually(SOON, "one committee", || {
            let status = network.cli(name).try_json(&["node", "status"])?;
            let same = status["committee"]["leader"] == leader.as_str();
            if same { Ok(()) } else { Err(status.to_string()) }
        });
    }
}

#[test]
fn a_coordinator_that_cannot_ask_yet_starts_and_founds_when_it_can() {
    // The invite is of an earlier day, and nobody was asked then.
    let mut network = Network::listening_on("patient", free_port());
    network.bootstrap.stop(Stop::Kill);
    let coordinator = network.coordinator(&[]);
    let status = coordinator.cli().json(&["node", "status"]);
    assert!(status["committee"].is_null(), "{status:#}");
    assert!(founding(&coordinator.data_dir).is_null());
    network.start_bootstrap_again();
    coordinator.awaits_coordinator();
    assert_eq!(founding(&coordinator.data_dir), founding_of(&network));
}

#[test]
fn a_founder_without_its_disk_founds_again_only_when_a_person_says_so() {
    let network = Network::new("anew");
    let mut coordinator = network.coordinator(&[]);
    let laptop = network.node("laptop", &[]);
    laptop.awaits_coordinator();
    let before = founding_of(&network);
    assert_eq!(before["generation"], 0);
    coordinator.stop(Stop::Kill);
    fs::remove_dir_all(coordinator.data_dir.join("store")).expect("it is ours");
    coordinator.start_again();
    eventually(SOON, "the loss to be told", || {
        let log = coordinator.log();
        let told = log.contains("is gone") && log.contains("cyxwiz-bootstrap --force-new");
        if told { Ok(()) } else { Err(log) }
    });
    assert_eq!(founding_of(&network), before, "nothing was decided anew");
    coordinator.stop(Stop::Terminate);

    // It is not for the coordinator to say, and not without somebody's word.
    let run = ["node", "run", "--no-mdns", "--coordinator", "--force-new-committee"];
    coordinator.cli().run(&run).exits(2).says(&["cyxwiz-bootstrap --force-new-committee"]);
    let cli = network.cli("bootstrap");
    let force = ["bootstrap", "--force-new-committee", "--network", "anew", "--json"];
    let unsaid = cli.run(&force).exits(1).says(&["are lost", "set aside", "--yes"]);
    assert_eq!(founding_of(&network), before, "{}", unsaid.told());
    let said = cli.run(&[&force[..], &["--yes"]].concat()).succeeds().says(&["are lost"]);
    let said: Value = serde_json::from_str(said.stdout.trim()).expect("one document");
    assert_eq!((&said["generation"], &said["changed"]), (&1.into(), &true.into()), "{said}");

    coordinator.start_again();
    eventually(SOON, "the second committee", || {
        let kept = founding(&coordinator.data_dir);
        if kept["generation"] == 1 { Ok(()) } else { Err(coordinator.log()) }
    });
    assert_eq!(founding(&coordinator.data_dir), founding_of(&network));
    eventually(SOON, "the second committee to lead", || {
        let workers = laptop.cli().try_json(&["node", "workers"])?;
        if workers == serde_json::json!([]) { Ok(()) } else { Err(workers.to_string()) }
    });
}

#[test]
fn ones_own_network_is_founded_anew_where_it_was_begun() {
    let network = Network::new("elsewhere");
    let mut own = network.start("own", &["--coordinator", "--network", "mine"]);
    own.awaits_coordinator();
    assert_eq!(founding(&own.data_dir)["generation"], 0);
    own.stop(Stop::Terminate);
    fs::remove_dir_all(own.data_dir.join("store")).expect("it is ours");
    own.start_again();
    assert!(own.log().contains("is gone"), "{}", own.log());
    own.stop(Stop::Terminate);

    let run = ["node", "run", "--no-mdns", "--coordinator", "--force-new-committee"];
    own.cli().run(&run).exits(1).says(&["'mine'", "are lost", "--yes"]);
    own.cli().run(&["node", "run", "--no-mdns", "--force-new-committee"]).exits(2);
    own.cli().run(&["node", "run", "--yes"]).exits(2);
    let forced = network.start("own", &["--coordinator", "--force-new-committee", "--yes"]);
    forced.awaits_coordinator();
    assert_eq!(founding(&forced.data_dir)["generation"], 1);
}

#[test]
fn who_comes_when_the_leader_is_gone_learns_of_it_from_the_hash_table() {
    let network = Network::new("late");
    let mut coordinator = network.coordinator(&[]);
    eventually(SOON, "the record to be kept", || {
        let log = coordinator.log();
        if log.contains("others keep the committee's record") { Ok(()) } else { Err(log) }
    });
    coordinator.stop(Stop::Kill);
    // The bootstrap peer alone is left, which takes no part in the protocol.
    let late = network.node("late", &[]);
    late.awaits_coordinator();
    assert_eq!(leader(&late), coordinator.peer);
}

/// What the data directory of a coordinator says of its founding.
fn founding(data_dir: &Path) -> Value {
    read(&data_dir.join("network.json"))["founding"].take()
}

/// What the bootstrap peer decided.
fn founding_of(network: &Network) -> Value {
    read(&network.folder().join("bootstrap/founding.json"))["founding"].take()
}

fn read(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).expect("it is JSON")
}

#[track_caller]
fn leader(node: &Node) -> String {
    text(&node.cli().json(&["node", "status"])["committee"]["leader"])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("text expected, not {value}")).to_owned()
}
