//! The scheduler in virtual time: peers of uneven speed, one that stalls, partial ones, and random events.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const MIB: u64 = 1024 * 1024;

/// A piece of a file: it joins what lies behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    number: u64,
    bytes: u64,
}

impl Portion for Part {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn files(&self) -> usize {
        1
    }

    fn joins(&self, next: &Self) -> bool {
        self.number + 1 == next.number
    }
}

/// A peer of the model: it sends its answers one after the other, each a round trip after its request.
struct Sender {
    rate: u64,
    round_trip: Duration,
    stalls_at: Option<Duration>,
    holds: Holds,
    /// Answers: request, pieces, bytes that came, when it was asked.
    answers: VecDeque<(Request<Part>, u64, Instant)>,
    /// Bytes that it could have sent by now and has not, below one tick's worth.
    credit: f64,
    sent: u64,
}

impl Sender {
    fn new(mib_per_second: u64, round_trip_ms: u64) -> Self {
        Self {
            rate: mib_per_second * MIB,
            round_trip: Duration::from_millis(round_trip_ms),
            stalls_at: None,
            holds: Holds::Everything,
            answers: VecDeque::new(),
            credit: 0.0,
            sent: 0,
        }
    }
}

/// What came of a run.
struct Run {
    took: Duration,
    /// Bytes that travelled.
    sent: u64,
}

/// Runs the scheduler against senders until all `total` bytes are here, or for `at_most`.
fn run(mut senders: Vec<Sender>, total: u64, at_most: Duration) -> Option<Run> {
    const TICK: Duration = Duration::from_millis(1);
    let begun = Instant::now();
    let mut swarm: Swarm<usize, Part> = Swarm::default();
    for (peer, sender) in senders.iter().enumerate() {
        swarm.set_holds(peer, sender.holds.clone());
    }
    let mut planned = 0;
    let mut now = begun;
    let mut done: HashSet<u64> = HashSet::new();
    while now - begun < at_most {
        while planned < total / MIB && !swarm.is_full() {
            assert!(swarm.push(Some(planned), Part { number: planned, bytes: MIB }));
            planned += 1;
        }
        if planned == total / MIB {
            swarm.close();
        }
        if swarm.is_done() {
            assert_eq!(done.len() as u64, total / MIB, "every piece came");
            return Some(Run { took: now - begun, sent: senders.iter().map(|sender| sender.sent).sum() });
        }
        for (peer, sender) in senders.iter_mut().enumerate() {
            while sender.answers.len() < super::super::pace::REQUESTS_PER_PEER {
                let Next::Ask(request) = swarm.next(peer, now) else { break };
                sender.answers.push_back((request, 0, now));
            }
            // A request that others have done is reset.
            let mut ended: Vec<RequestKey> = Vec::new();
            sender.answers.retain(|(request, _, _)| {
                let is_over = request.obsolete.is_cancelled();
                ended.extend(is_over.then_some(request.key));
                !is_over
            });
            let is_stalled = sender.stalls_at.is_some_and(|at| now - begun >= at);
            sender.credit = if is_stalled { 0.0 } else { sender.credit + sender.rate as f64 * TICK.as_secs_f64() };
            let mut finished = Vec::new();
            for (request, came, asked) in &mut sender.answers {
                if now - *asked < sender.round_trip {
                    continue;
                }
                if *came == 0 && sender.credit >= 1.0 {
                    swarm.on_answer(request.key, now);
                }
                let whole: u64 = request.pieces.iter().map(|piece| piece.work.bytes).sum();
                let bytes = (whole - *came).min(sender.credit as u64);
                if bytes == 0 {
                    break;
                }
                *came += bytes;
                sender.credit -= bytes as f64;
                sender.sent += bytes;
                swarm.on_bytes(request.key, bytes, now);
                if *came == whole {
                    finished.push(request.clone());
                }
            }
            // Nothing is saved up while there is nothing to send.
            if sender.answers.iter().all(|(_, _, asked)| now - *asked < sender.round_trip) {
                sender.credit = 0.0;
            }
            sender.answers.retain(|(request, _, _)| !finished.iter().any(|other| other.key == request.key));
            for key in ended {
                swarm.on_end(key, Vec::new(), now);
            }
            for request in finished {
                done.extend(request.pieces.iter().map(|piece| piece.work.number));
                let outcomes = request.pieces.iter().map(|_| Outcome::Done).collect();
                swarm.on_end(request.key, outcomes, now);
            }
        }
        now += TICK;
    }
    None
}

fn four() -> Vec<Sender> {
    vec![Sender::new(12, 20), Sender::new(6, 60), Sender::new(3, 120), Sender::new(1, 200)]
}

#[test]
fn uneven_peers_give_their_sum() {
    let total = 1024 * MIB;
    let run = run(four(), total, Duration::from_secs(120)).expect("it ends");
    let ideal = total as f64 / (22 * MIB) as f64;
    println!("took {:?}, ideal {ideal:.2} s, {} pieces too many", run.took, run.sent / MIB - total / MIB);
    assert!(run.took.as_secs_f64() <= ideal * 1.02, "{:?} against {ideal:.2} s", run.took);
    assert!(run.sent <= total + total / 50, "{} bytes twice", run.sent - total);
}

#[test]
fn where_one_stalls_the_others_give_what_remains() {
    let total = 1024 * MIB;
    let mut senders = four();
    senders[1].stalls_at = Some(Duration::from_secs(3));
    let run = run(senders, total, Duration::from_secs(120)).expect("it ends");
    // Three seconds of all, then the others.
    let ideal = 3.0 + (total - 3 * 22 * MIB) as f64 / (16 * MIB) as f64;
    println!("took {:?}, ideal {ideal:.2} s", run.took);
    assert!(run.took.as_secs_f64() <= ideal * 1.02, "{:?} against {ideal:.2} s", run.took);
}

#[test]
fn partial_peers_that_together_hold_all_are_enough() {
    let total = 512 * MIB;
    let half = |numbers| Holds::Pieces(GroupRanges::from_groups(numbers));
    // The first half is held by one who is slow, the second by all: whoever can do what others cannot does that.
    let mut senders = vec![Sender::new(10, 20), Sender::new(10, 20), Sender::new(10, 20)];
    senders[0].holds = half(0..256);
    senders[1].holds = half(200..512);
    senders[2].holds = half(256..512);
    let run = run(senders, total, Duration::from_secs(120)).expect("it ends");
    println!("took {:?}", run.took);
    // 256 pieces at 10 a second by the first alone, the others meanwhile do the rest.
    assert!(run.took.as_secs_f64() <= 25.6 * 1.05, "{:?}", run.took);
}

#[test]
fn what_nobody_holds_is_waited_for() {
    let mut senders = vec![Sender::new(10, 20), Sender::new(10, 20)];
    for sender in &mut senders {
        sender.holds = Holds::Pieces(GroupRanges::from_groups(0..10));
    }
    assert!(run(senders, 11 * MIB, Duration::from_secs(20)).is_none());
}

#[test]
fn what_nobody_holds_is_in_nobodys_way() {
    // The first 300 pieces are nobody's: more than are planned ahead.
    let mut swarm: Swarm<u8, Part> = Swarm::default();
    swarm.set_holds(1, Holds::Pieces(GroupRanges::from_groups(300..302)));
    let mut number = 0;
    while !swarm.is_full() && number < 302 {
        swarm.push(Some(number), Part { number, bytes: MIB });
        number += 1;
    }
    let Next::Ask(request) = swarm.next(1, Instant::now()) else { panic!("pieces 300 and 301 can be had") };
    assert!(request.pieces[0].work.number >= 300);
}

#[test]
fn the_rarest_comes_first_only_where_a_peer_is_partial() {
    let first = |holds: [Holds; 2]| {
        let mut swarm: Swarm<u8, Part> = Swarm::default();
        let [a, b] = holds;
        swarm.set_holds(1, a);
        swarm.set_holds(2, b);
        (0..20).for_each(|number| assert!(swarm.push(Some(number), Part { number, bytes: MIB })));
        let Next::Ask(request) = swarm.next(1, Instant::now()) else { panic!("there is work") };
        request.pieces[0].work.number
    };
    let held = |numbers| Holds::Pieces(GroupRanges::from_groups(numbers));
    assert_eq!(first([held(0..20), held(0..19)]), 19, "only one has it");
    assert_eq!(first([Holds::Everything, held(0..19)]), 19, "only one has it");
    assert_eq!(first([Holds::Everything, Holds::Everything]), 0, "in order");
}

#[test]
fn what_a_peer_could_not_give_is_asked_of_others_first() {
    let mut swarm: Swarm<u8, Part> = Swarm::default();
    let now = Instant::now();
    swarm.set_holds(1, Holds::Everything);
    swarm.set_holds(2, Holds::Everything);
    swarm.push(None, Part { number: 0, bytes: MIB });
    swarm.push(None, Part { number: 7, bytes: MIB });
    swarm.close();
    let Next::Ask(first) = swarm.next(1, now) else { panic!("there is work") };
    swarm.on_end(first.key, vec![Outcome::Left(first.pieces[0].work.clone(), Again::Later)], now);
    let Next::Ask(second) = swarm.next(1, now) else { panic!("there is other work") };
    assert_eq!(second.pieces[0].work.number, 7);
    let Next::Ask(third) = swarm.next(2, now) else { panic!("another may have it") };
    assert_eq!(third.pieces[0].work.number, 0);
    swarm.on_end(third.key, vec![Outcome::Left(first.pieces[0].work.clone(), Again::Later)], now);
    swarm.on_end(second.key, vec![Outcome::Done], now);
    assert!(matches!(swarm.next(1, now), Next::Wait));
    let later = now + REFUSED;
    assert!(matches!(swarm.next(1, later), Next::Ask(_)), "and then of the same again");
}

#[test]
fn only_one_of_two_copies_is_put_in_place() {
    let mut swarm: Swarm<u8, Part> = Swarm::default();
    let now = Instant::now();
    swarm.set_holds(1, Holds::Everything);
    swarm.set_holds(2, Holds::Everything);
    swarm.push(Some(0), Part { number: 0, bytes: MIB });
    swarm.close();
    let Next::Ask(slow) = swarm.next(1, now) else { panic!("there is work") };
    assert!(matches!(swarm.next(2, now), Next::Wait), "it is too early to call it slow");
    let later = now + STALLED;
    let Next::Ask(quick) = swarm.next(2, later) else { panic!("the first stalls") };
    assert!(swarm.claim(quick.key, quick.pieces[0].key));
    assert!(!swarm.claim(slow.key, slow.pieces[0].key), "the other has it in its hands");
    assert!(matches!(swarm.next(1, later), Next::Wait));
    swarm.on_end(quick.key, vec![Outcome::Done], later);
    assert!(slow.obsolete.is_cancelled());
    assert!(swarm.is_done());
    swarm.on_end(slow.key, Vec::new(), later);
    assert!(swarm.is_done());
}

/// What happens to a request, by a random number.
fn end(request: &Request<Part>, how: u8) -> Vec<Outcome<Part>> {
    let left = |piece: &Piece<Part>, again| Outcome::Left(piece.work.clone(), again);
    match how % 4 {
        0 => Vec::new(),
        1 => request.pieces.iter().map(|piece| left(piece, Again::Later)).collect(),
        2 => {
            let half = request.pieces.len() / 2;
            let each = request.pieces.iter().enumerate();
            each.map(|(at, piece)| if at < half { Outcome::Done } else { left(piece, Again::AtOnce) }).collect()
        }
        _ => request.pieces.iter().map(|_| Outcome::Done).collect(),
    }
}

proptest! {
    /// Whatever peers do, no piece is lost, none is carried by more than three, and with one good peer all is done.
    #[test]
    fn no_piece_is_lost(events in proptest::collection::vec((0..4_u8, 0..5_u8, any::<u8>()), 0..200)) {
        let mut swarm: Swarm<u8, Part> = Swarm::default();
        let mut now = Instant::now();
        let total = 40;
        (0..total).for_each(|number| assert!(swarm.push(Some(number), Part { number, bytes: MIB })));
        swarm.close();
        let mut running: Vec<(u8, Request<Part>)> = Vec::new();
        let mut done = HashSet::new();
        for (peer, what, how) in events {
            now += Duration::from_millis(u64::from(how) * 20);
            match what {
                0 => swarm.set_holds(peer, Holds::Everything),
                1 => swarm.set_holds(peer, Holds::Pieces(GroupRanges::from_groups(0..u64::from(how)))),
                2 => swarm.remove(&peer),
                3 => if let Next::Ask(request) = swarm.next(peer, now) {
                    prop_assert!(!request.pieces.is_empty());
                    running.push((peer, request));
                },
                _ => if !running.is_empty() {
                    let (_, request) = running.swap_remove(usize::from(how) % running.len());
                    let outcomes = end(&request, how);
                    for (piece, outcome) in request.pieces.iter().zip(&outcomes) {
                        if matches!(outcome, Outcome::Done) {
                            done.insert(piece.work.number);
                        }
                    }
                    swarm.on_end(request.key, outcomes, now);
                },
            }
            for copies in swarm.carriers.values() {
                prop_assert!((1..=MAX_COPIES).contains(copies));
            }
        }
        // All requests end in nothing, then one good peer does the rest.
        for (_, request) in running {
            swarm.on_end(request.key, Vec::new(), now);
        }
        swarm.set_holds(9, Holds::Everything);
        for _ in 0..1_000 {
            now += REFUSED;
            match swarm.next(9, now) {
                Next::Ask(request) => {
                    done.extend(request.pieces.iter().map(|piece| piece.work.number));
                    let outcomes = request.pieces.iter().map(|_| Outcome::Done).collect();
                    swarm.on_end(request.key, outcomes, now);
                }
                Next::Wait => {}
                Next::Done => break,
            }
        }
        prop_assert!(swarm.is_done());
        prop_assert_eq!(done.len() as u64, total);
    }
}
