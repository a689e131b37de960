use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Team;

/// Every piece is done once, in many rounds with and without time to fall asleep between them.
#[test]
fn every_piece_is_done_once() {
    for threads in 1..=4 {
        let team = Team::start(threads).unwrap();
        for round in 0..300 {
            let mut counts = vec![0_u32; 1 + round % 7];
            team.share(counts.iter_mut(), |count| *count += 1);
            assert!(counts.iter().all(|count| *count == 1), "{threads} threads, {round}");
            if round % 100 == 99 {
                let pause = Instant::now();
                while pause.elapsed() < 3 * super::PATIENCE {
                    std::thread::yield_now();
                }
            }
        }
    }
}

/// The pieces wait for each other, which they could not if one thread did both.
#[test]
fn pieces_are_done_at_the_same_time() {
    let team = Team::start(2).unwrap();
    let arrived = AtomicUsize::new(0);
    let deadline = Instant::now() + Duration::from_secs(60);
    team.share(0..2, |_| {
        arrived.fetch_add(1, Ordering::SeqCst);
        while arrived.load(Ordering::SeqCst) < 2 && Instant::now() < deadline {
            std::hint::spin_loop();
        }
        assert!(Instant::now() < deadline, "nobody came");
    });
}

#[test]
fn a_round_within_a_round_happens_on_its_thread() {
    let team = Team::start(3).unwrap();
    let sum = AtomicUsize::new(0);
    team.share(0..4, |outer| {
        team.share(0..4, |inner| {
            sum.fetch_add(outer * 4 + inner, Ordering::SeqCst);
        });
    });
    assert_eq!(sum.into_inner(), (0..16).sum::<usize>());
}

#[test]
fn a_panic_is_heard_and_the_team_goes_on() {
    let team = Team::start(2).unwrap();
    let failing = std::panic::AssertUnwindSafe(|| {
        team.share(0..8, |piece| assert!(piece != 5, "the sixth"));
    });
    assert!(std::panic::catch_unwind(failing).is_err());
    let sum = AtomicUsize::new(0);
    team.share(0..8, |piece| {
        sum.fetch_add(piece, Ordering::SeqCst);
    });
    assert_eq!(sum.into_inner(), 28);
}

#[test]
fn an_error_is_given() {
    let team = Team::start(2).unwrap();
    let odd = |piece: usize| if piece == 6 { Err(piece) } else { Ok(()) };
    assert_eq!(team.try_share(0..8, odd), Err(6));
    assert_eq!(team.try_share(0..6, odd), Ok(()));
}
