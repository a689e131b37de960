use super::*;
use crate::Device;

fn job() -> Requirements {
    Requirements {
        device: DeviceKind::Cuda,
        memory_mb: 8000,
        device_memory_mb: 4000,
        disk_mb: 1000,
        cores: 4,
        max_price: 100,
        min_reputation: Permille::new(100),
        min_sandbox_level: 2,
    }
}

fn worker() -> Capability {
    Capability {
        cores: 4,
        memory_mb: 8800,
        disk_mb: 1000,
        devices: vec![device(DeviceKind::Cpu, 8800), device(DeviceKind::Cuda, 4000)],
        max_concurrent: 2,
        speed: 1,
        sandbox_level: 2,
        price: 100,
    }
}

fn device(kind: DeviceKind, memory_mb: u32) -> Device {
    Device { kind, name: format!("some {kind}"), memory_mb }
}

fn known() -> Permille {
    Permille::new(100)
}

/// The worker exactly meets the job; one change makes one obstacle, and no more than one.
#[track_caller]
fn assert_obstacle(capability: &Capability, load: &Load, reputation: Permille, shown: &str) {
    let reasons = can_run_now(&job(), capability, load, reputation).unwrap_err();
    let [reason] = reasons.as_slice() else { panic!("one reason, not {reasons:?}") };
    assert_eq!(reason.to_string(), shown);
    let ever = could_ever_run(&job(), capability, reputation);
    assert_eq!(ever.is_err(), reason.is_permanent(), "{reason:?}");
    if let Err(lasting) = ever {
        assert_eq!(lasting.len(), 1, "{lasting:?}");
    }
}

#[track_caller]
fn assert_lacks(change: impl FnOnce(&mut Capability), shown: &str) {
    let mut capability = worker();
    change(&mut capability);
    assert_obstacle(&capability, &Load::idle(&capability), known(), shown);
}

#[track_caller]
fn assert_in_use(change: impl FnOnce(&mut Load), shown: &str) {
    let mut load = Load { active: 1, ..Load::idle(&worker()) };
    change(&mut load);
    assert_obstacle(&worker(), &load, known(), shown);
}

#[test]
fn exactly_enough_is_enough() {
    let load = Load { active: 1, ..Load::idle(&worker()) };
    assert_eq!(can_run_now(&job(), &worker(), &load, known()), Ok(()));
    assert_eq!(could_ever_run(&job(), &worker(), known()), Ok(()));
}

#[test]
fn one_step_short_is_refused_with_the_reason() {
    assert_lacks(|c| c.devices.truncate(1), "needs a cuda device, offers cpu");
    assert_lacks(|c| c.devices.clear(), "needs a cuda device, offers none");
    assert_lacks(|c| c.cores = 3, "needs 4 processor cores, has 3");
    assert_lacks(|c| c.memory_mb = 7000, "needs 8000 MB of memory, has 7000 MB");
    assert_lacks(
        |c| c.memory_mb = 8799,
        "needs 8000 MB of memory and 800 MB to spare, has 8799 MB",
    );
    assert_lacks(|c| c.devices[1].memory_mb = 3999, "needs 4000 MB of device memory, has 3999 MB");
    assert_lacks(|c| c.disk_mb = 999, "needs 1000 MB of disk space, has 999 MB");
    assert_lacks(|c| c.price = 101, "asks 101 credits, the job pays at most 100");
    assert_lacks(|c| c.sandbox_level = 1, "needs sandbox level 2, offers level 1");
    assert_lacks(|c| c.max_concurrent = 0, "takes no jobs");
    assert_in_use(|l| l.active = 2, "is busy with 2 of 2 jobs");
    assert_in_use(|l| l.memory_free_mb = 400, "needs 8000 MB of memory, has 400 MB free");
    assert_in_use(
        |l| l.memory_free_mb = 8799,
        "needs 8000 MB of memory and 800 MB to spare, has 8799 MB free",
    );
    assert_in_use(|l| l.disk_free_mb = 999, "needs 1000 MB of disk space, has 999 MB free");
    let idle = Load::idle(&worker());
    let stranger = Permille::new(99);
    assert_obstacle(&worker(), &idle, stranger, "needs a reputation of 0.100, has 0.099");
}

#[test]
fn the_largest_device_of_the_kind_counts() {
    let mut capability = worker();
    capability.devices = vec![
        device(DeviceKind::Cuda, 1000),
        device(DeviceKind::Cuda, 4000),
        device(DeviceKind::Metal, 90_000),
    ];
    assert_eq!(could_ever_run(&job(), &capability, known()), Ok(()));
    capability.devices.remove(1);
    let reasons = could_ever_run(&job(), &capability, known()).unwrap_err();
    assert_eq!(reasons, [Ineligible::DeviceMemory { needed_mb: 4000, offered_mb: 1000 }]);
}

#[test]
fn every_obstacle_is_named_once() {
    let nothing = Capability::default();
    let load = Load { active: 7, ..Load::default() };
    let reasons = can_run_now(&job(), &nothing, &load, Permille::ZERO).unwrap_err();
    let expected = [
        "needs a cuda device, offers none",
        "needs 4 processor cores, has 0",
        "needs 8000 MB of memory, has 0 MB",
        "needs 1000 MB of disk space, has 0 MB",
        "needs a reputation of 0.100, has 0.000",
        "needs sandbox level 2, offers level 0",
        "takes no jobs",
    ];
    assert_eq!(reasons.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
}

#[test]
fn a_long_list_of_devices_makes_a_short_reason() {
    let mut capability = worker();
    capability.devices = vec![device(DeviceKind::OpenCl, 1); 10_000];
    let reasons = could_ever_run(&job(), &capability, known()).unwrap_err();
    let offered = vec![DeviceKind::OpenCl];
    assert_eq!(reasons, [Ineligible::Device { wanted: DeviceKind::Cuda, offered }]);
}

#[test]
fn a_free_job_takes_free_offers_only() {
    let free = Requirements { max_price: 0, ..job() };
    let mut capability = worker();
    assert!(could_ever_run(&free, &capability, known()).is_err());
    capability.price = 0;
    assert_eq!(could_ever_run(&free, &capability, known()), Ok(()));
    capability.price = u64::MAX;
    let rich = Requirements { max_price: Requirements::ANY_PRICE, ..job() };
    assert_eq!(could_ever_run(&rich, &capability, known()), Ok(()));
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let huge = Requirements { memory_mb: u32::MAX, ..job() };
    let mut capability = worker();
    capability.memory_mb = u32::MAX;
    let load = Load::idle(&capability);
    let reasons = can_run_now(&huge, &capability, &load, known()).unwrap_err();
    let [reason] = reasons.as_slice() else { panic!("one reason, not {reasons:?}") };
    let shown = reason.to_string();
    assert!(shown.contains("and 429496730 MB to spare, has 4294967295 MB"), "{shown}");
}
