//! A network of machines within this one, whose cables can be pulled: network namespaces joined by
//! a bridge. Nobody outside can be reached from it, and it is gone with the value, or with the test
//! program, however that ends: a namespace lasts as long as somebody is in it.

use std::{
    io::{BufRead, BufReader},
    net::{IpAddr, Ipv4Addr},
    process::{Child, Command, Stdio},
};

use crate::{Place, place::ENDS_WITH_TEST};

/// The bridge, which is a machine itself, and the machines that hang on it.
#[derive(Debug)]
pub struct Lan {
    middle: Namespace,
    hosts: Vec<Namespace>,
}

/// What is done to a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing comes through.
    Both,
    /// What the machine says is lost; it hears.
    Mute,
    /// What is said to the machine is lost; it is heard.
    Deaf,
}

/// One machine's own network, kept by a process that does nothing.
#[derive(Debug)]
struct Namespace {
    keeper: Child,
    address: Ipv4Addr,
}

impl Lan {
    /// A bridge with `hosts` machines on it, or why there can be none on this machine.
    pub fn new(hosts: usize) -> Result<Self, String> {
        let unshare = ["unshare", "--user", "--map-root-user", "--net", "--"];
        let middle = Namespace::new(&unshare.map(str::to_owned), address(0))?;
        middle.ip(&["link", "set", "lo", "up"])?;
        middle.ip(&["link", "add", "bridge", "type", "bridge"])?;
        middle.ip(&["addr", "add", &middle.with_prefix(), "dev", "bridge"])?;
        middle.ip(&["link", "set", "bridge", "up"])?;
        let mut lan = Self { middle, hosts: Vec::new() };
        (0..hosts).try_for_each(|index| lan.add_host(index))?;
        Ok(lan)
    }

    fn add_host(&mut self, index: usize) -> Result<(), String> {
        let unshare = ["unshare", "--net", "--"].map(str::to_owned);
        let within = [self.middle.prefix(), unshare.to_vec()].concat();
        let host = Namespace::new(&within, address(index + 1))?;
        let (cable, keeper) = (cable(index), host.keeper.id().to_string());
        let pair = ["type", "veth", "peer", "name", "eth0", "netns", &keeper];
        self.middle.ip(&[&["link", "add", cable.as_str()][..], &pair].concat())?;
        self.middle.ip(&["link", "set", &cable, "master", "bridge", "up"])?;
        host.ip(&["link", "set", "lo", "up"])?;
        host.ip(&["addr", "add", &host.with_prefix(), "dev", "eth0"])?;
        host.ip(&["link", "set", "eth0", "up"])?;
        self.hosts.push(host);
        Ok(())
    }

    /// On the machine in the middle, whose cable is never cut.
    #[must_use]
    pub fn middle(&self) -> Place {
        self.middle.place()
    }

    /// On one of the others.
    #[must_use]
    pub fn host(&self, index: usize) -> Place {
        self.hosts[index].place()
    }

    /// Cuts one machine off from all others.
    #[track_caller]
    pub fn cut(&self, index: usize, cut: Cut) {
        let host = &self.hosts[index];
        match cut {
            Cut::Both => self.set_cable(index, "down"),
            Cut::Mute => self.others(index).for_each(|other| host.misdirect(other)),
            Cut::Deaf => self.others(index).for_each(|other| other.misdirect(host)),
        }
    }

    /// Undoes it.
    #[track_caller]
    pub fn mend(&self, index: usize, cut: Cut) {
        let host = &self.hosts[index];
        match cut {
            Cut::Both => self.set_cable(index, "up"),
            Cut::Mute => self.others(index).for_each(|other| host.find_again(other)),
            Cut::Deaf => self.others(index).for_each(|other| other.find_again(host)),
        }
    }

    fn others(&self, index: usize) -> impl Iterator<Item = &Namespace> {
        let hosts = self.hosts.iter().enumerate();
        let others = hosts.filter(move |(other, _)| *other != index).map(|(_, host)| host);
        others.chain([&self.middle])
    }

    #[track_caller]
    fn set_cable(&self, index: usize, state: &str) {
        let done = self.middle.ip(&["link", "set", &cable(index), state]);
        done.expect("the cable is there");
    }
}

impl Namespace {
    fn new(enter: &[String], address: Ipv4Addr) -> Result<Self, String> {
        let (first, rest) = enter.split_first().expect("it has a program");
        let mut command = Command::new(first);
        // It ends when nobody holds the other end of its input.
        command.args(rest).args(["sh", "-c", "echo here && exec cat"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut keeper = command.spawn().map_err(|error| format!("{first}: {error}"))?;
        let mut said = String::new();
        let stdout = keeper.stdout.take().expect("standard output is a pipe");
        // An error reads as if nothing had been said.
        let _ = BufReader::new(stdout).read_line(&mut said);
        if said.trim() == "here" {
            return Ok(Self { keeper, address });
        }
        let output = keeper.wait_with_output().map_err(|error| error.to_string())?;
        Err(format!("{first}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }

    fn prefix(&self) -> Vec<String> {
        let target = self.keeper.id().to_string();
        let enter = ["nsenter", "--preserve-credentials", "--user", "--net", "--target", &target];
        enter.into_iter().chain(["--"]).map(str::to_owned).collect()
    }

    fn place(&self) -> Place {
        let tied = ENDS_WITH_TEST.map(str::to_owned);
        let prefix: Vec<_> = self.prefix().into_iter().chain(tied).collect();
        Place { visitors: prefix.clone(), prefix, address: IpAddr::V4(self.address) }
    }

    fn with_prefix(&self) -> String {
        format!("{}/24", self.address)
    }

    /// Sends everything for `other` to a station that is not there.
    #[track_caller]
    fn misdirect(&self, other: &Self) {
        let to = other.address.to_string();
        let nowhere = ["lladdr", "02:00:00:00:00:99", "nud", "permanent", "dev", self.device()];
        let done = self.ip(&[&["neigh", "replace", to.as_str()][..], &nowhere].concat());
        done.expect("neighbours can be set");
    }

    #[track_caller]
    fn find_again(&self, other: &Self) {
        let done = self.ip(&["neigh", "del", &other.address.to_string(), "dev", self.device()]);
        done.expect("the neighbour was set");
    }

    fn device(&self) -> &'static str {
        if self.address == address(0) { "bridge" } else { "eth0" }
    }

    fn ip(&self, arguments: &[&str]) -> Result<(), String> {
        let prefix = self.prefix();
        let (first, rest) = prefix.split_first().expect("it has a program");
        let output = Command::new(first).args(rest).arg("ip").args(arguments).output();
        let output = output.map_err(|error| format!("ip: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        Err(format!("ip {}: {}", arguments.join(" "), words.trim()))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Errors say that it is gone already.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 88, 0, 1 + u8::try_from(number).expect("the network is small"))
}

fn cable(index: usize) -> String {
    format!("cable{index}")
}
