//! The daily quota divided among callers, with three replicas and a real server.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use test_support::{
    redis_server::Server,
    replica::{config, up},
    wait::{reached, settled},
};
use zoom_qos_proxy::{
    cluster::{
        Cluster, ClusterConfig,
        caller_calls::CallerChange,
        quota_reply::{Blocker, SlotReply},
    },
    quota::fair_day::{CallerShare, CallerSpending, DayState, Draw, FairDay, Unshared},
};

const REPLICAS: u32 = 3;
const PER_DAY: u64 = 3_000;
/// The day is simulated in steps of this many seconds.
const STEP: u32 = 900;
const STEPS: u32 = 86_400 / STEP;
const CALLERS: [&str; 6] = ["a", "b", "c", "d", "e", "scanner"];

fn callers() -> Vec<CallerShare> {
    CALLERS.map(|name| CallerShare { name: name.into(), weight: 1, calls_per_day: None }).into()
}

/// A replica that uses the service's own code to divide the day and to exchange counts.
struct Replica {
    cluster: Cluster,
    rule: RefCell<FairDay>,
    version: RefCell<u64>,
}

impl Replica {
    async fn start(server: &Server) -> Self {
        let (cluster, _) =
            up(ClusterConfig { per_day: PER_DAY, ..config(&server.url(), 4_000_000, REPLICAS) }).await;
        cluster.count_callers(true);
        let mut rule = FairDay::new(PER_DAY, 50);
        rule.set_callers(&callers());
        Self { cluster, rule: RefCell::new(rule), version: RefCell::default() }
    }

    fn state(&self, elapsed: Duration) -> DayState {
        let day = self.cluster.day(Instant::now());
        DayState {
            date: day.date,
            elapsed,
            left: PER_DAY.saturating_sub(day.used),
            replicas: REPLICAS,
            ceiling_replicas: 1,
        }
    }

    /// Copies the counts of all replicas into the rule, if they have changed.
    fn sync(&self) {
        let version = self.cluster.caller_calls_version();
        if self.version.replace(version) == version {
            return;
        }
        let (date, counts) = self.cluster.caller_calls();
        for (name, count) in counts {
            let spent = CallerSpending { calls: count.calls, drawn_until: count.drawn_until };
            let unshared = Unshared { calls: count.unshared.0, draws: count.unshared.1 };
            self.rule.borrow_mut().set_spending(date, &name, spent, unshared);
        }
    }

    /// Makes a fetch of one call for this caller. Returns false if the quota does not allow it.
    async fn ask(&self, caller: &str, elapsed: Duration) -> bool {
        self.sync();
        let state = self.state(elapsed);
        if state.left == 0 {
            return false;
        }
        let Ok(Draw(drawn)) = self.rule.borrow_mut().start(caller, &state) else { return false };
        let micros = i64::try_from(drawn.as_micros()).unwrap();
        let of_reserve = i64::from(micros > 0);
        let until = self.rule.borrow().spending().find(|(name, _)| *name == caller).unwrap().1.drawn_until;
        let from = if of_reserve > 0 { until.checked_sub(drawn).unwrap() } else { elapsed };
        let change = CallerChange { calls: 1, draws: of_reserve, drawn: micros, from };
        self.cluster.add_caller_calls(caller, change);
        // A reserved slot counts in the day. The command that reserves it also reports the change above.
        loop {
            match self.cluster.reserve_slot().await.unwrap() {
                SlotReply::Slot(_) => break,
                // Since the last exchange, another replica has made the last call of the day.
                SlotReply::RetryAt { blocker: Blocker::DaySpent, .. } => {
                    self.rule.borrow_mut().cancel(caller, Draw(drawn));
                    let back = CallerChange { calls: -1, draws: -of_reserve, drawn: -micros, from };
                    self.cluster.add_caller_calls(caller, back);
                    return false;
                }
                SlotReply::RetryAt { at, .. } => reached(at).await,
            }
        }
        self.rule.borrow_mut().call_made();
        true
    }
}

/// Waits until each replica knows all calls.
async fn exchange(replicas: &[Replica]) {
    settled(async || {
        let totals = replicas.iter().map(|replica| {
            replica.sync();
            let used: u64 = replica.rule.borrow().spending().map(|(_, spent)| spent.calls).sum();
            (used, replica.cluster.day(Instant::now()).used)
        });
        let totals: Vec<_> = totals.collect();
        let made = totals.first()?.1;
        totals.iter().all(|(used, day)| (*used, *day) == (made, made)).then_some(())
    })
    .await;
}

#[actix_rt::test]
async fn three_replicas_divide_the_day_like_one() {
    let server = Server::start();
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        replicas.push(Replica::start(&server).await);
    }
    // Callers `a` to `e` each ask for their reserve of 250 calls, about one every 346 s. The scanner asks for all that
    // it can get.
    let mut made = CALLERS.map(|_| 0_u32);
    for step in 0..STEPS {
        let elapsed = Duration::from_secs((step * STEP).into());
        for (caller, made) in CALLERS.iter().zip(&mut made) {
            let by = |step: u32| step * 250 / STEPS;
            let wants = if *caller == "scanner" { 3_000 } else { by(step + 1) - by(step) };
            for number in 0..wants {
                let next = usize::try_from(number + step).unwrap() % replicas.len();
                if !replicas.get(next).unwrap().ask(caller, elapsed).await {
                    break;
                }
                *made += 1;
            }
        }
        // The simulated time stands still during the exchange. In the service, an exchange takes about 0.3 s.
        exchange(&replicas).await;
    }
    println!("{made:?}");
    for team in made.iter().take(5) {
        assert!((245..=250).contains(team), "within 2 % of the reserve of 250: {made:?}");
    }
    let total: u32 = made.iter().sum();
    assert!((2_940..=3_000).contains(&total), "98 % of the day: {made:?}");
}

#[actix_rt::test]
async fn counts_survive_a_departed_replica_and_a_flushed_server() {
    let server = Server::start();
    let (one, two) = (Replica::start(&server).await, Replica::start(&server).await);
    for _ in 0..40 {
        assert!(one.ask("a", Duration::ZERO).await);
    }
    let knows = async |replica: &Replica, calls: u64| {
        settled(async || {
            replica.sync();
            let used = replica.rule.borrow().spending().find(|(name, _)| *name == "a")?.1.calls;
            (used == calls).then_some(())
        })
        .await;
    };
    knows(&two, 40).await;
    one.cluster.leave().await;
    drop(one);
    server.command::<()>(&["FLUSHALL"]);
    let three = Replica::start(&server).await;
    knows(&three, 40).await;
    knows(&two, 40).await;
}
