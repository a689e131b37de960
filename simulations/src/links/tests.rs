use super::*;
use crate::chance::Span;

const A: HostId = HostId(0);
const B: HostId = HostId(1);
const NOW: Instant = Instant(10_000_000);

fn links(faults: LinkFaults) -> Links {
    let mut plan = Plan { network: NetworkModel::reliable(Span::millis(10, 10)), ..plan() };
    plan.faults.links = faults;
    Links::new(1, &plan, 4)
}

fn plan() -> Plan {
    Plan::default()
}

fn arrivals(links: &mut Links, frames: usize, bytes: usize) -> Vec<Instant> {
    let mut rng = Rng::new([1; 32]);
    (0..frames).flat_map(|_| links.carry(NOW, (A, B), bytes, &mut rng)).collect()
}

#[test]
fn a_narrow_line_sends_one_frame_after_the_other_and_drops_what_waits_too_long() {
    let kbit = Some(Widths { least_kbit: 800, most_kbit: 800 });
    let mut links = links(LinkFaults { uplink: kbit, ..LinkFaults::default() });
    // A thousand bytes are ten milliseconds on a line of 800 kbit/s.
    let came = arrivals(&mut links, 3, 1_000);
    let after: Vec<_> = came.iter().map(|at| at.since(NOW).as_millis()).collect();
    assert_eq!(after, [20, 30, 40]);
    let came = arrivals(&mut links, 1_000, 1_000);
    assert!((490..=510).contains(&came.len()), "{} came", came.len());
    assert_eq!(links.congested, 1_000 - came.len() as u64);
}

#[test]
fn a_narrow_receiver_takes_one_frame_after_the_other() {
    let kbit = Some(Widths { least_kbit: 800, most_kbit: 800 });
    let mut links = links(LinkFaults { downlink: kbit, ..LinkFaults::default() });
    let came = arrivals(&mut links, 3, 1_000);
    let after: Vec<_> = came.iter().map(|at| at.since(NOW).as_millis()).collect();
    assert_eq!(after, [20, 30, 40]);
}

#[test]
fn late_copies_and_overtaken_frames_come_when_they_should() {
    let faults = LinkFaults {
        late_copies_permille: 1_000,
        late_copy_after: Span::millis(3_000, 5_000),
        overtaken_permille: 1_000,
        overtaken_by: Span::millis(100, 200),
        ..LinkFaults::default()
    };
    let came = arrivals(&mut links(faults), 1, 100);
    let after: Vec<_> = came.iter().map(|at| at.since(NOW)).collect();
    assert!((110..=210).contains(&after[0].as_millis()), "{after:?}");
    let later = after[1] - after[0];
    assert!((3_000..=5_000).contains(&later.as_millis()), "{after:?}");
}

#[test]
fn a_clog_lets_everything_go_at_its_end_and_other_links_alone() {
    let mut links = links(LinkFaults::default());
    let until = NOW + Duration::from_secs(4);
    links.clog((A, B), until);
    assert_eq!(arrivals(&mut links, 3, 100), [until; 3]);
    let back: Vec<_> = links.carry(NOW, (B, A), 100, &mut Rng::new([1; 32])).collect();
    assert_eq!(back, [NOW + Duration::from_millis(10)]);
    links.heal();
    assert_eq!(arrivals(&mut links, 1, 100), [NOW + Duration::from_millis(10)]);
}

#[test]
fn a_cut_lets_nothing_through_until_it_is_mended() {
    let mut links = links(LinkFaults::default());
    links.cut(1, Cut::around(4, |host| host == A));
    assert_eq!(arrivals(&mut links, 5, 100), []);
    assert_eq!(links.blocked, 5);
    links.mend(1);
    assert_eq!(arrivals(&mut links, 5, 100).len(), 5);
}

#[test]
fn regions_and_laws_make_the_latencies_that_they_promise() {
    let regions = Latency::Regions { jitter_permille: 0 };
    let mut far = links(LinkFaults { latency: regions, ..LinkFaults::default() });
    (far.lines[0].region, far.lines[1].region) = (2, 8);
    // Half of the 255 ms between São Paulo and Tokyo.
    assert_eq!(arrivals(&mut far, 1, 1)[0].since(NOW), Duration::from_micros(127_500));
    let constant = Latency::Constant { us: 7 };
    let mut near = links(LinkFaults { latency: constant, ..LinkFaults::default() });
    assert_eq!(arrivals(&mut near, 1, 1)[0].since(NOW), Duration::from_micros(7));
    let lognormal = Latency::Lognormal { median_us: 50_000, sigma_permille: 500 };
    let mut tail = links(LinkFaults { latency: lognormal, ..LinkFaults::default() });
    let came = arrivals(&mut tail, 1_000, 1);
    let fast = came.iter().filter(|at| at.since(NOW) < Duration::from_millis(50)).count();
    assert!((450..=550).contains(&fast), "{fast} of 1,000 were faster than the median");
}
