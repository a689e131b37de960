//! Every documented command is taken, and what makes no sense is not.

use std::path::Path;

use clap::{CommandFactory, Parser};

use crate::cli::job::JobCommand;
use crate::cli::node::NodeCommand;
use crate::cli::output::Format;
use crate::cli::{Cli, Command, beside_node};

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn documented_commands_are_taken() {
    for line in [
        "cyxwiz node run",
        "cyxwiz node run --join /ip4/127.0.0.1/tcp/1 --join cyxwiz1:home --worker --coordinator",
        "cyxwiz node run --listen /ip4/0.0.0.0/tcp/0 --external /dns4/a.example/tcp/1 --no-mdns",
        "cyxwiz node run --network home --data-dir d --config c.toml --log debug --api 127.0.0.1:0",
        "cyxwiz node run --worker --max-concurrent 1 --threads 2 --memory-mb 512 --price 3",
        "cyxwiz node run --worker --report-interval-ms 100",
        "cyxwiz node status",
        "cyxwiz node status --join /ip4/127.0.0.1/tcp/1 --output json",
        "cyxwiz node peers --wide",
        "cyxwiz node workers",
        "cyxwiz job submit digits.toml",
        "cyxwiz job submit - --files data --follow",
        "cyxwiz job submit digits.toml --wait --id-only",
        "cyxwiz job submit digits.toml --join ADDRESS -q",
        "cyxwiz job list",
        "cyxwiz job list --all --output jsonl",
        "cyxwiz job status last",
        "cyxwiz job watch 019d",
        "cyxwiz job cancel last --wait",
        "cyxwiz job pause digits --wait",
        "cyxwiz job resume digits",
        "cyxwiz job wait last",
        "cyxwiz job results last --out model --force",
        "cyxwiz job why last",
        "cyxwiz --data-dir d --output json job why last",
        "cyxwiz demo",
        "cyxwiz demo --workers 4 --jobs 8 --keep",
        "cyxwiz demo --chaos --coordinators 5",
        "cyxwiz bench",
        "cyxwiz bench --coordinators 1 --placements 100",
        "cyxwiz bench failover --coordinators 5 --leaders 20 --workers 0",
        "cyxwiz bench training",
        "cyxwiz bench training --through-network --epochs 20 --rounds 3",
        "cyxwiz bench training --rivals --threads 1 --rounds 3 --rows 1280",
        "cyxwiz __bench-train /tmp/run mlp 2",
        "cyxwiz doctor",
        "cyxwiz doctor --output json",
        "cyxwiz node run --worker --allow-unsandboxed",
        "cyxwiz completions bash",
        "cyxwiz bootstrap --json --network home --data-dir d",
        "cyxwiz __train /tmp/run 2",
        "cyxwiz __train /tmp/run 2 --disk-mb 64",
        "cyxwiz __train --allow-unsandboxed /tmp/run 2",
        "cyxwiz __train --af-backend cpu --device 0 --af-library /a/libafcpu.so.3 /tmp/run 2",
        "cyxwiz __devices opencl",
        "cyxwiz node run --worker --engine arrayfire --af-backend cuda --device 1",
        "cyxwiz node run --worker --engine cpu",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn examples_in_the_help_are_taken() {
    let mut pending = vec![Cli::command()];
    let mut examples = 0;
    while let Some(mut command) = pending.pop() {
        let help = command.render_long_help().to_string();
        for line in help.lines().filter_map(|line| line.strip_prefix("  cyxwiz ")) {
            // Two spaces begin a remark; shell syntax ends the command.
            let line = line.split("  ").next().unwrap_or_default();
            let line = line.split([';', '|', '>', '<', '&']).next().unwrap_or_default();
            examples += 1;
            if let Err(error) = parse(&format!("cyxwiz {line}")) {
                panic!("{line}: {error}");
            }
        }
        pending.extend(command.get_subcommands().cloned());
    }
    assert!(examples >= 15, "{examples}");
}

#[test]
fn what_makes_no_sense_exits_with_2() {
    for line in [
        "cyxwiz job",
        "cyxwiz job submit",
        "cyxwiz job submit a.toml --wait --follow",
        "cyxwiz job status",
        "cyxwiz job list --output yaml",
        "cyxwiz node run --threads 0",
        "cyxwiz node run --memory-mb lots",
        "cyxwiz node run --api nowhere",
        "cyxwiz demo --workers 0",
        "cyxwiz demo --coordinators 2",
        "cyxwiz demo --chaos --jobs 2",
        "cyxwiz bench failover --coordinators 1",
        "cyxwiz launch",
    ] {
        let error = parse(line).err().unwrap_or_else(|| panic!("{line} was taken"));
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn options_arrive_where_they_belong() {
    let cli =
        parse("cyxwiz node run --worker --join a --join b --threads 2 --output json").unwrap();
    assert_eq!(cli.globals.output, Format::Json);
    let Command::Node(NodeCommand::Run(args)) = cli.command else { panic!("{:?}", cli.command) };
    assert!(args.worker && !args.coordinator);
    assert_eq!((args.join.len(), args.threads, args.memory_mb), (2, Some(2), None));

    let cli = parse("cyxwiz job results 019d --out x --join peer --data-dir d").unwrap();
    assert_eq!(cli.globals.data_dir, Some("d".into()));
    let Command::Job(JobCommand::Results(args)) = cli.command else { panic!("{:?}", cli.command) };
    assert_eq!((args.job.job.as_str(), args.force), ("019d", false));
    assert_eq!(args.job.reach.join, ["peer"]);
    assert_eq!(args.out, Some("x".into()));
}

#[test]
fn a_bootstrap_peer_never_shares_the_folder_of_a_node() {
    let folder = |given: Option<&str>, nodes: Option<&str>| {
        beside_node(given.map(Into::into), nodes.map(Path::new), "home")
    };
    assert_eq!(folder(Some("/n"), Some("/n")), Some("/n/bootstrap/home".into()));
    assert_eq!(folder(Some("/b"), Some("/n")), Some("/b".into()));
    assert_eq!(folder(Some("/b"), None), Some("/b".into()));
    assert_eq!(folder(None, Some("/n")), None);
}
