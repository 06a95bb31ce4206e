//! Acts on the fake pair: once, twice, killed at each run of a program, and with something coming in between.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{
    BootId, LifName, MemberHa, NodeName, PairState, PoolName, TransitionId, TransitionStage,
};
use uuid::Uuid;

use super::super::{POLL, SETTLE};
use super::fake::{Answering, Fake, POOLS, State, boot};
use crate::{CleanReboot, Host, Keeper, Pacemaker};
use evenkeel_platform::{Failover as _, GivebackRequest, PlatformError, TakeoverRequest};

const A: &str = "ctl-a";
const B: &str = "ctl-b";

fn engine(fake: &Fake, local: &str, own: BootId) -> Pacemaker {
    let partner = if local == A { B } else { A };
    let name = |text: &str| NodeName::new(text).unwrap();
    let host = Host::new("/", Arc::new(fake.clone()));
    Pacemaker::new(host, name(local), name(partner), own)
}

fn taker(fake: &Fake) -> Pacemaker {
    engine(fake, B, boot(0xb1))
}

fn id(number: u128) -> TransitionId {
    TransitionId(Uuid::from_u128(number))
}

fn takeover(number: u128) -> TakeoverRequest {
    TakeoverRequest {
        id: id(number),
        partner_boot: boot(0xa1),
        local_boot: boot(0xb1),
    }
}

fn giveback(number: u128, pool: &str) -> GivebackRequest {
    GivebackRequest {
        id: id(number),
        pool: Some(PoolName::new(pool).unwrap()),
    }
}

fn give_nothing_back(number: u128) -> GivebackRequest {
    GivebackRequest {
        id: id(number),
        pool: None,
    }
}

async fn pair(fake: &Fake) -> PairState {
    taker(fake).pair().await.unwrap().unwrap()
}

fn stage(pair: &PairState) -> TransitionStage {
    pair.transition.as_ref().unwrap().stage
}

fn refused(result: Result<(), PlatformError>) -> String {
    match result {
        Err(PlatformError::Refused(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

/// Where every pool is: none may be nowhere.
fn served(state: &State) -> Vec<&'static str> {
    let runs = POOLS.map(|(pool, home)| state.runs(pool, home).expect(pool));
    runs.to_vec()
}

#[derive(Default)]
struct Power(Mutex<Vec<BootId>>);

#[async_trait]
impl CleanReboot for Power {
    async fn reboot(&self, boot: BootId) -> Result<(), PlatformError> {
        self.0.lock().unwrap().push(boot);
        Ok(())
    }
}

fn keeper(fake: &Fake, own: BootId) -> (Keeper, Arc<Power>) {
    let power = Arc::new(Power::default());
    (Keeper::new(engine(fake, A, own), power.clone()), power)
}

/// Taken over, booted anew, waiting.
async fn waiting() -> Fake {
    taken(Fake::new()).await
}

async fn taken(fake: Fake) -> Fake {
    taker(&fake).take_over(&takeover(1)).await.unwrap();
    let (keeper, power) = keeper(&fake, boot(0xa1));
    while power.0.lock().unwrap().is_empty() {
        keeper.turn().await.unwrap();
    }
    fake.state().boot(A, boot(0xa2));
    fake
}

#[tokio::test(start_paused = true)]
async fn a_takeover_ends_with_a_clean_reboot_of_the_taken_node() {
    let fake = Fake::new();
    taker(&fake).take_over(&takeover(1)).await.unwrap();
    assert_eq!(fake.state().changes, 1, "standby and mark are one change");
    assert_eq!(stage(&pair(&fake).await), TransitionStage::TakingOver);
    let (keeper, power) = keeper(&fake, boot(0xa1));
    keeper.turn().await.unwrap();
    assert!(power.0.lock().unwrap().is_empty(), "it is noted first");
    keeper.turn().await.unwrap();
    keeper.turn().await.unwrap();
    assert_eq!(*power.0.lock().unwrap(), [boot(0xa1), boot(0xa1)]);
    fake.state().boot(A, boot(0xa2));
    let pair = pair(&fake).await;
    assert_eq!(pair.partner.ha, MemberHa::WaitingForGiveback);
    let transition = pair.transition.unwrap();
    assert!(transition.clean && transition.id == Some(id(1)));
    let (keeper, power) = self::keeper(&fake, boot(0xa2));
    keeper.turn().await.unwrap();
    assert!(power.0.lock().unwrap().is_empty(), "the new boot stays");
}

#[tokio::test(start_paused = true)]
async fn a_node_stays_up_until_its_partners_addresses_answer() {
    let fake = Fake::new();
    taker(&fake).take_over(&takeover(1)).await.unwrap();
    for (answering, why) in [
        (Answering::Nobody, "no reply to ping"),
        (Answering::Here, "it is on this node"),
    ] {
        fake.state().answering = answering;
        let own = engine(&fake, A, boot(0xa1));
        let power = Arc::new(Power::default());
        let keeper = Keeper::new(own.clone(), power.clone());
        let turns = tokio::time::timeout(Duration::from_secs(5), keeper.run());
        assert!(turns.await.is_err());
        assert!(power.0.lock().unwrap().is_empty());
        let alerts = own.alerts().await.unwrap();
        assert!(
            matches!(alerts.as_slice(), [one] if one.contains(why)
                && one.contains("LIF lif_a (192.0.2.9) on ctl-b does not answer ctl-a")),
            "{alerts:?}"
        );
    }
    fake.state().answering = Answering::Neighbours;
    let (keeper, power) = keeper(&fake, boot(0xa1));
    keeper.turn().await.unwrap();
    // Once it was noted that the node shuts down, its network may be gone.
    fake.state().answering = Answering::Nobody;
    keeper.turn().await.unwrap();
    assert_eq!(*power.0.lock().unwrap(), [boot(0xa1)]);
}

/// Runs a keeper until the node is no more in standby. Says how long that took, and what its alerts said before.
async fn taken_back(fake: &Fake, own: BootId) -> (Duration, Vec<String>) {
    let engine = engine(fake, A, own);
    let keeper = Keeper::new(engine.clone(), Arc::new(Power::default()));
    let (begin, mut alerts) = (tokio::time::Instant::now(), Vec::new());
    while fake.state().standby(A) {
        let turns = tokio::time::timeout(Duration::from_secs(5), keeper.run());
        assert!(turns.await.is_err());
        let now = engine.alerts().await.unwrap();
        alerts = if fake.state().standby(A) { now } else { alerts };
    }
    let turns = tokio::time::timeout(Duration::from_secs(5), keeper.run());
    assert!(turns.await.is_err());
    (begin.elapsed(), alerts)
}

#[tokio::test(start_paused = true)]
async fn a_takeover_by_which_a_pool_is_served_by_nobody_is_taken_back() {
    for boots_first in [false, true] {
        let fake = Fake::new();
        fake.state().broken = vec!["a_data1"];
        taker(&fake).take_over(&takeover(1)).await.unwrap();
        let reason = "pool a_data1 is not served by ctl-b: the action a_data1_disk_start_0 failed on ctl-b (no 'disk')";
        let standing = pair(&fake).await.transition.unwrap();
        assert_eq!(standing.stage, TransitionStage::TakingOver);
        assert_eq!(standing.trouble.as_deref(), Some(reason));
        let told = taker(&fake).alerts().await.unwrap();
        assert!(told[0].ends_with(reason), "{told:?}");
        let own = if boots_first { boot(0xa2) } else { boot(0xa1) };
        fake.state().boot(A, own);

        let (took, alerts) = taken_back(&fake, own).await;
        assert!((10..25).contains(&took.as_secs()), "{took:?}");
        assert!(alerts.iter().any(|one| one.ends_with(reason)), "{alerts:?}");
        assert_eq!(served(&fake.state()), [A, A, A, B]);
        let over = pair(&fake).await.transition.unwrap();
        assert_eq!(
            (over.id, over.stage),
            (Some(id(1)), TransitionStage::GivenBack)
        );
        assert_eq!(over.trouble.as_deref(), Some(reason));

        // The same request again is none for another takeover; the next takeover knows nothing of it.
        taker(&fake).take_over(&takeover(1)).await.unwrap();
        assert!(!fake.state().standby(A));
        fake.state().broken = Vec::new();
        let mut next = takeover(2);
        next.partner_boot = own;
        taker(&fake).take_over(&next).await.unwrap();
        assert_eq!(pair(&fake).await.transition.unwrap().trouble, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_takeover_that_the_cluster_leaves_half_done_is_taken_back_later() {
    let fake = Fake::new();
    (fake.state().broken, fake.state().fails) = (vec!["a_data1"], false);
    taker(&fake).take_over(&takeover(1)).await.unwrap();
    let standing = pair(&fake).await.transition.unwrap();
    assert_eq!(standing.trouble, None, "it may only rest");
    let (took, _) = taken_back(&fake, boot(0xa1)).await;
    assert!((60..75).contains(&took.as_secs()), "{took:?}");
    let over = pair(&fake).await.transition.unwrap();
    assert_eq!(
        over.trouble.as_deref(),
        Some("pool a_data1 is not served by ctl-b")
    );
}

/// Its Pacemaker alone, or Corosync too.
fn leave(fake: &Fake, is_pending: bool) {
    let mut state = fake.state();
    match is_pending {
        true => state.pending = Some(B),
        false => {
            state.up.remove(B);
        }
    }
    state.boots.insert(B.to_owned(), None);
    state.num_updates += 1;
}

#[tokio::test(start_paused = true)]
async fn a_takeover_whose_taker_has_left_the_cluster_is_taken_back() {
    for is_pending in [false, true] {
        let fake = waiting().await;
        leave(&fake, is_pending);
        let (took, alerts) = taken_back(&fake, boot(0xa2)).await;
        assert!((10..25).contains(&took.as_secs()), "{took:?}");
        assert_eq!(served(&fake.state()), [A; 4]);
        assert!(
            alerts[0].ends_with("ctl-b is no member of the cluster"),
            "{alerts:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_held_for_a_giver_that_has_left_the_cluster_goes_home() {
    // In the boot that it was given back to, and after another one.
    for (is_pending, own) in [(false, 0xa2), (true, 0xa2), (true, 0xa3)] {
        let fake = waiting().await;
        taker(&fake)
            .give_back(&giveback(1, "a_root"))
            .await
            .unwrap();
        fake.state().boot(A, boot(own));
        leave(&fake, is_pending);
        let keeper = keeper(&fake, boot(own)).0;
        keep(&keeper, 8).await;
        assert_eq!(fake.state().runs("a_data1", A), None);
        keep(&keeper, 5).await;
        assert_eq!(served(&fake.state()), [A; 4]);
        assert!(fake.state().holds.is_empty());
        keep(&keeper, 5).await;
        let mark = fake.state().attributes[A]["evenkeel-transition"].clone();
        assert!(mark.ends_with("stage=given-back"), "{mark}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_held_is_not_taken_back_while_the_giver_serves_it() {
    let fake = waiting().await;
    taker(&fake)
        .give_back(&giveback(1, "a_root"))
        .await
        .unwrap();
    let keeper = keeper(&fake, boot(0xa2)).0;
    keep(&keeper, 300).await;
    assert_eq!(served(&fake.state()), [A, B, B, B]);
}

#[tokio::test(start_paused = true)]
async fn a_takeover_by_which_an_address_is_not_reached_is_taken_back_later() {
    let fake = Fake::new();
    fake.state().answering = Answering::Nobody;
    taker(&fake).take_over(&takeover(1)).await.unwrap();
    let (took, _) = taken_back(&fake, boot(0xa1)).await;
    assert!((60..75).contains(&took.as_secs()), "{took:?}");
    let over = pair(&fake).await.transition.unwrap();
    assert!(over.trouble.unwrap().starts_with("LIF lif_a (192.0.2.9)"));
    assert_eq!(served(&fake.state()), [A, A, A, B]);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_silent_in_other_words_each_time_is_as_silent() {
    let fake = Fake::new();
    taker(&fake).take_over(&takeover(1)).await.unwrap();
    let keeper = keeper(&fake, boot(0xa1)).0;
    for round in 0..5 {
        fake.state().answering = match round % 2 {
            0 => Answering::Nobody,
            _ => Answering::Here,
        };
        assert!(fake.state().standby(A), "{round}");
        keep(&keeper, 13).await;
    }
    assert!(!fake.state().standby(A));
}

/// Lets a keeper work for so long.
async fn keep(keeper: &Keeper, seconds: u64) {
    let turns = tokio::time::timeout(Duration::from_secs(seconds), keeper.run());
    assert!(turns.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_starts_in_time_or_is_nobodys_business_is_not_taken_back() {
    let fake = Fake::new();
    let keeper = keeper(&fake, boot(0xa1)).0;
    taker(&fake).take_over(&takeover(1)).await.unwrap();
    for _ in 0..3 {
        fake.state().broken = vec!["a_data1"];
        keep(&keeper, 8).await;
        fake.state().broken = Vec::new();
        // All is served: the node would leave.
        fake.state().answering = Answering::NobodyAtAll;
        keep(&keeper, 2).await;
    }
    assert!(fake.state().standby(A), "each time it was a short one");
    fake.state().broken = vec!["a_data1"];
    fake.state().maintenance = true;
    keep(&keeper, 100).await;
    assert!(fake.state().standby(A), "hands off");
    fake.state().maintenance = false;
    keep(&keeper, 15).await;
    assert!(!fake.state().standby(A));
}

#[tokio::test(start_paused = true)]
async fn what_is_being_started_is_given_time() {
    let fake = Fake::new();
    let keeper = keeper(&fake, boot(0xa1)).0;
    taker(&fake).take_over(&takeover(1)).await.unwrap();
    // One that failed at first is served, and others take their time.
    fake.state().broken = vec!["a_data1"];
    keep(&keeper, 8).await;
    (fake.state().broken, fake.state().fails) = (vec!["a_data2"], false);
    fake.state().starting = Some("a_data2_disk");
    keep(&keeper, 100).await;
    assert!(fake.state().standby(A), "the cluster has got on");
    // What the pool needs has no home of its own.
    (fake.state().broken, fake.state().fails) = (vec!["a_data1"], false);
    fake.state().starting = Some("zfs_a");
    keep(&keeper, 300).await;
    assert!(fake.state().standby(A), "nothing has failed");
    fake.state().fails = true;
    keep(&keeper, 50).await;
    assert!(fake.state().standby(A), "it is tried again");
    keep(&keeper, 15).await;
    assert!(!fake.state().standby(A), "for a minute");
}

/// Whatever the cluster makes of it: the pool was served by nobody all the while.
#[tokio::test(start_paused = true)]
async fn a_failure_that_is_retried_expires_or_is_cleaned_up_is_borne_for_a_minute() {
    let fake = Fake::new();
    let keeper = keeper(&fake, boot(0xa1)).0;
    taker(&fake).take_over(&takeover(1)).await.unwrap();
    fake.state().broken = vec!["a_data1"];
    for round in 0..12 {
        assert!(fake.state().standby(A), "{round}");
        (fake.state().fails, fake.state().starting) = match round % 3 {
            0 => (true, None),
            1 => (false, Some("a_data1_disk")),
            _ => (false, None),
        };
        keep(&keeper, 5).await;
    }
    keep(&keeper, 5).await;
    assert!(!fake.state().standby(A));
    assert_eq!(served(&fake.state()), [A, A, A, B]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hears_nobody_does_not_blame_its_partner() {
    let fake = Fake::new();
    fake.state().answering = Answering::NobodyAtAll;
    taker(&fake).take_over(&takeover(1)).await.unwrap();
    let keeper = keeper(&fake, boot(0xa1)).0;
    keep(&keeper, 300).await;
    assert!(fake.state().standby(A));
    assert_eq!(served(&fake.state()), [B; 4]);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_start_where_it_is_goes_home_by_a_giveback() {
    let fake = waiting().await;
    fake.state().broken = vec!["a_data1"];
    for pool in ["a_root", "a_data1", "a_data2"] {
        taker(&fake).give_back(&giveback(1, pool)).await.unwrap();
    }
    assert_eq!(served(&fake.state()), [A, A, A, B]);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_does_not_answer_is_an_alert_before_any_takeover() {
    let fake = Fake::new();
    let asking = taker(&fake);
    assert_eq!(asking.alerts().await.unwrap(), Vec::<String>::new());
    fake.state().answering = Answering::Nobody;
    assert_eq!(asking.alerts().await.unwrap(), Vec::<String>::new());
    tokio::time::sleep(super::super::ANSWERED).await;
    let alerts = asking.alerts().await.unwrap();
    assert!(
        matches!(alerts.as_slice(), [one] if one.contains("LIF lif_a (192.0.2.9) on ctl-a does not answer ctl-b")),
        "{alerts:?}"
    );
    let trusting = taker(&fake).without_asking();
    assert_eq!(trusting.alerts().await.unwrap(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn the_last_one_does_not_shut_down() {
    let fake = Fake::new();
    taker(&fake).take_over(&takeover(1)).await.unwrap();
    fake.state().fence(B);
    let (keeper, power) = keeper(&fake, boot(0xa1));
    for _ in 0..3 {
        keeper.turn().await.unwrap();
    }
    assert!(power.0.lock().unwrap().is_empty());
    let own = engine(&fake, A, boot(0xa1));
    own.serve_alone().await.unwrap();
    own.serve_alone().await.unwrap();
    assert_eq!(served(&fake.state()), [A; 4]);
    assert!(fake.state().holds.is_empty());
}

#[tokio::test(start_paused = true)]
async fn takeovers_that_would_harm_are_refused() {
    let fake = Fake::new();
    let mut stale = takeover(1);
    stale.partner_boot = boot(7);
    assert!(refused(taker(&fake).take_over(&stale).await).contains("does not run in boot"));
    let mut stale = takeover(1);
    stale.local_boot = boot(7);
    assert!(refused(taker(&fake).take_over(&stale).await).contains("does not run in boot"));
    taker(&fake).take_over(&takeover(1)).await.unwrap();
    assert!(refused(taker(&fake).take_over(&takeover(2)).await).contains("is taking ctl-a over"));
    let counter = TakeoverRequest {
        id: id(3),
        partner_boot: boot(0xb1),
        local_boot: boot(0xa1),
    };
    let crossed = engine(&fake, A, boot(0xa1)).take_over(&counter).await;
    assert!(refused(crossed).contains("ctl-b is taking ctl-a over"));
    assert_eq!(fake.state().changes, 1);
    assert!(refused(engine(&fake, A, boot(0xa1)).serve_alone().await).contains("no proof"));
}

#[tokio::test(start_paused = true)]
async fn a_boot_between_the_look_and_the_act_is_seen() {
    let fake = Fake::new();
    fake.state().meanwhile = Some(|state| state.boot(A, boot(0xa2)));
    let why = refused(taker(&fake).take_over(&takeover(1)).await);
    assert!(why.contains("does not run in boot"), "{why}");
    assert!(!fake.state().standby(A), "nothing may have been done");
}

#[tokio::test(start_paused = true)]
async fn pools_go_home_one_by_one_root_first_and_nothing_is_left() {
    let fake = waiting().await;
    let engine = taker(&fake);
    let lif = LifName::new("lif_a").unwrap();
    assert!(refused(engine.give_back(&giveback(1, "a_data1")).await).contains("root pool"));
    assert!(refused(engine.give_back(&giveback(2, "a_root")).await).contains("does not hold"));
    assert!(refused(engine.give_back(&giveback(1, "b_root")).await).contains("not a pool of"));
    assert!(refused(engine.send_home(&lif).await).contains("does not serve"));
    engine.give_back(&giveback(1, "a_root")).await.unwrap();
    assert_eq!(served(&fake.state()), [A, B, B, B]);
    assert_eq!(pair(&fake).await.partner.ha, MemberHa::PartialGiveback);
    assert_eq!(stage(&pair(&fake).await), TransitionStage::GivingBack);
    assert_eq!(fake.state().runs("lif_a", A), Some(B), "LIFs go last");
    engine.give_back(&giveback(1, "a_data2")).await.unwrap();
    assert_eq!(served(&fake.state()), [A, B, A, B]);
    engine.give_back(&giveback(1, "a_data1")).await.unwrap();
    engine.give_back(&giveback(1, "a_data1")).await.unwrap();
    engine.send_home(&lif).await.unwrap();
    assert_eq!(served(&fake.state()), [A, A, A, B]);
    assert!(fake.state().holds.is_empty());
    assert_eq!(stage(&pair(&fake).await), TransitionStage::GivenBack);
    assert_eq!(pair(&fake).await.takeover_veto, None);
    engine.take_over(&takeover(1)).await.unwrap();
    assert!(
        !fake.state().standby(A),
        "the same takeover again has no effect"
    );
}

#[tokio::test(start_paused = true)]
async fn a_takeover_goes_on_after_a_kill_at_every_run_of_a_program() {
    for runs in 1..=6 {
        for is_run in [false, true] {
            let fake = Fake::new();
            fake.state().kill_after = Some((runs, is_run));
            let killed = taker(&fake).take_over(&takeover(1)).await;
            assert!(
                matches!(killed, Err(PlatformError::Unavailable(_))),
                "{runs}"
            );
            fake.state().kill_after = None;
            taker(&fake).take_over(&takeover(1)).await.unwrap();
            assert_eq!(fake.state().changes, 1, "{runs} {is_run}");
            assert_eq!(served(&fake.state()), [B; 4]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_without_pools_of_its_own_is_given_back() {
    let fake = Fake::new();
    fake.state().pools.retain(|(_, home)| *home == B);
    let fake = taken(fake).await;
    assert_eq!(pair(&fake).await.partner.ha, MemberHa::WaitingForGiveback);
    assert_eq!(fake.state().runs("lif_a", A), Some(B));
    let engine = taker(&fake);
    assert!(refused(engine.give_back(&give_nothing_back(2)).await).contains("does not hold"));
    engine.give_back(&give_nothing_back(1)).await.unwrap();
    let changes = fake.state().changes;
    engine.give_back(&give_nothing_back(1)).await.unwrap();
    assert_eq!(fake.state().changes, changes, "once is enough");
    assert_eq!(stage(&pair(&fake).await), TransitionStage::GivenBack);
    assert_eq!(pair(&fake).await.partner.ha, MemberHa::Serving);
    assert_eq!(fake.state().runs("lif_a", A), Some(A));
    engine
        .send_home(&LifName::new("lif_a").unwrap())
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_given_back_as_nothing_while_a_pool_is_to_go_home() {
    let fake = waiting().await;
    let why = refused(taker(&fake).give_back(&give_nothing_back(1)).await);
    assert!(why.contains("pool a_root of ctl-a is to go home"), "{why}");
    assert!(fake.state().standby(A));
}

/// Gives everything back. Says how often it was killed: once at most.
async fn give_all_back(fake: &Fake) -> usize {
    let mut kills = 0;
    for pool in ["a_root", "a_data1", "a_data2"] {
        while let Err(error) = taker(fake).give_back(&giveback(1, pool)).await {
            assert_eq!(error, PlatformError::Unavailable("killed".to_owned()));
            kills += 1;
            let served = served(&fake.state());
            // Whatever is home already is home in order.
            assert!(served[0] == A || served[1..3] == [B, B], "{served:?}");
            fake.state().kill_after = None;
        }
    }
    kills
}

#[tokio::test(start_paused = true)]
async fn a_giveback_goes_on_after_a_kill_at_every_run_of_a_program() {
    let mut kills = 0;
    for runs in 1..=40 {
        for is_run in [false, true] {
            let fake = waiting().await;
            fake.state().kill_after = Some((runs, is_run));
            kills += give_all_back(&fake).await;
            fake.state().kill_after = None;
            assert_eq!(served(&fake.state()), [A, A, A, B]);
            assert!(fake.state().holds.is_empty(), "{runs} {is_run}");
            assert_eq!(stage(&pair(&fake).await), TransitionStage::GivenBack);
        }
    }
    // Three pools, some five runs each, killed before and after each.
    assert!(kills >= 30, "{kills}");
}

#[tokio::test(start_paused = true)]
async fn what_only_the_scheduler_knows_is_heeded_before_anything_is_changed() {
    let fake = Fake::new();
    let ban = ("x".to_owned(), ("a_data2".to_owned(), B.to_owned()));
    fake.state().hidden_ban = Some(ban);
    let why = refused(taker(&fake).take_over(&takeover(1)).await);
    assert!(why.contains("pool a_data2 is not served by ctl-b"), "{why}");
    assert_eq!(fake.state().changes, 0);
    let fake = waiting().await;
    let changes = fake.state().changes;
    let ban = ("x".to_owned(), ("a_root".to_owned(), A.to_owned()));
    fake.state().hidden_ban = Some(ban);
    let why = refused(taker(&fake).give_back(&giveback(1, "a_root")).await);
    assert!(why.contains("pool a_root does not go to ctl-a"), "{why}");
    assert_eq!(fake.state().changes, changes);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_lost_in_the_midst_of_its_giveback_was_taken_over_anew() {
    let fake = waiting().await;
    taker(&fake)
        .give_back(&giveback(1, "a_root"))
        .await
        .unwrap();
    fake.state().fence(A);
    let lost = pair(&fake).await;
    assert_eq!(lost.partner.ha, MemberHa::Fenced);
    let transition = lost.transition.unwrap();
    assert_eq!(
        (transition.id, transition.boot_before),
        (None, Some(boot(0xa2)))
    );
    assert!(
        refused(taker(&fake).give_back(&giveback(1, "a_root")).await).contains("does not hold")
    );
    fake.state().boot(A, boot(0xa3));
    let back = pair(&fake).await;
    assert_eq!(back.partner.ha, MemberHa::PartialGiveback);
    assert_eq!(back.transition.unwrap().id, None);
    let veto = back.giveback_veto.unwrap();
    assert!(
        veto.contains("evenkeel-hold-a_data1") && veto.contains("2 like it"),
        "{veto}"
    );
    fake.state().holds.clear();
    assert_eq!(stage(&pair(&fake).await), TransitionStage::GivenBack);
}

#[tokio::test(start_paused = true)]
async fn a_takeover_that_was_undone_by_hand_is_noted_and_not_taken_for_the_next_standby() {
    let fake = waiting().await;
    fake.state()
        .attributes
        .get_mut(A)
        .unwrap()
        .remove("standby");
    assert_eq!(stage(&pair(&fake).await), TransitionStage::GivenBack);
    let (keeper, power) = keeper(&fake, boot(0xa2));
    keeper.turn().await.unwrap();
    let standby = ("standby".to_owned(), "on".to_owned());
    fake.state()
        .attributes
        .get_mut(A)
        .unwrap()
        .extend([standby]);
    assert_eq!(pair(&fake).await.transition.unwrap().id, None);
    keeper.turn().await.unwrap();
    assert!(power.0.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_new_boot_is_noted_before_it_is_told() {
    let fake = Fake::new();
    fake.state().boots.insert(A.to_owned(), None);
    assert_eq!(pair(&fake).await.partner.ha, MemberHa::Booting);
    let (keeper, _) = keeper(&fake, boot(0xa2));
    keeper.turn().await.unwrap();
    assert_eq!(pair(&fake).await.partner.boot_id, None);
    keeper.turn().await.unwrap();
    assert_eq!(pair(&fake).await.partner.boot_id, Some(boot(0xa2)));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_node_serves_alone_with_proof_that_its_partner_is_dead() {
    let fake = waiting().await;
    taker(&fake)
        .give_back(&giveback(1, "a_root"))
        .await
        .unwrap();
    let own = engine(&fake, A, boot(0xa2));
    assert!(refused(own.serve_alone().await).contains("no proof"));
    fake.state().fence(B);
    assert_eq!(
        own.pair().await.unwrap().unwrap().partner.ha,
        MemberHa::Fenced
    );
    own.serve_alone().await.unwrap();
    assert_eq!(served(&fake.state()), [A; 4]);
    let transition = own.pair().await.unwrap().unwrap().transition.unwrap();
    assert_eq!((transition.id, transition.taken.as_str()), (None, B));
    fake.state().boot(B, boot(0xb2));
    // Whoever only looks may be told what was so a moment ago.
    tokio::time::sleep(super::super::RECENT).await;
    let pair = own.pair().await.unwrap().unwrap();
    assert_eq!(
        (pair.local.ha, pair.partner.ha),
        (MemberHa::Serving, MemberHa::Serving)
    );
}

/// ctl-a is in a standby of somebody's, its partner is fenced, and what it then says to serving alone.
async fn alone_in_standby(by_somebody: impl FnOnce(&mut State)) -> (Fake, String) {
    let fake = Fake::new();
    by_somebody(&mut fake.state());
    fake.state().fence(B);
    let own = engine(&fake, A, boot(0xa1));
    let began = tokio::time::Instant::now();
    let why = refused(own.serve_alone().await);
    assert!(began.elapsed() < POLL, "it is known at once");
    assert_eq!(fake.state().changes, 0, "nothing is written");
    let alerts = own.alerts().await.unwrap();
    assert!(
        alerts.iter().any(|alert| alert.contains(&why)),
        "{alerts:?}"
    );
    (fake, why)
}

fn set(state: &mut State, name: &str, value: &str) {
    let attributes = state.attributes.get_mut(A).unwrap();
    attributes.insert(name.to_owned(), value.to_owned());
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_standby_is_left_alone_even_when_the_partner_is_dead() {
    let (fake, why) = alone_in_standby(|state| set(state, "standby", "on")).await;
    assert!(
        why.contains("not by Evenkeel") && why.contains("crm_standby -N ctl-a -D"),
        "{why}"
    );
    assert!(fake.state().standby(A));
    // What we took over earlier is over.
    let over = format!(
        "id={} seq=1 by=ctl-b boot={} stage=given-back",
        id(1).0,
        boot(0xa0).0
    );
    let (_, why) = alone_in_standby(|state| {
        set(state, "standby", "on");
        set(state, "evenkeel-transition", &over);
    })
    .await;
    assert!(why.contains("not by Evenkeel"), "{why}");
    let (_, why) = alone_in_standby(|state| state.passing_standby = Some(A)).await;
    assert!(why.contains("crm_standby -N ctl-a -l reboot -D"), "{why}");
    assert!(why.contains("crm_resource --cleanup"), "{why}");
    let (_, why) = alone_in_standby(|state| {
        set(state, "standby", "on");
        state.maintenance = true;
    })
    .await;
    assert!(why.contains("maintenance-mode"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_takeover_of_a_later_release_is_undone_when_the_partner_is_dead() {
    let fake = waiting().await;
    let mark = fake.state().attributes[A]["evenkeel-transition"].clone();
    let later = mark.replace("stage=standing", "stage=later");
    set(&mut fake.state(), "evenkeel-transition", &later);
    fake.state().fence(B);
    engine(&fake, A, boot(0xa2)).serve_alone().await.unwrap();
    assert_eq!(served(&fake.state()), [A; 4]);
    assert_eq!(fake.state().attributes[A]["evenkeel-transition"], later);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_not_made_is_not_written_without_a_pause() {
    let fake = waiting().await;
    fake.state().outrun = true;
    fake.state().tries = 0;
    let gave_back = taker(&fake).give_back(&giveback(1, "a_root")).await;
    assert!(matches!(gave_back, Err(PlatformError::Unavailable(_))));
    let (tries, most) = (
        fake.state().tries,
        SETTLE.as_millis() / POLL.as_millis() + 2,
    );
    assert!(tries > 1 && u128::from(tries) <= most, "{tries}");
}

/// Its reboot is refused.
struct Stuck;

#[async_trait]
impl CleanReboot for Stuck {
    async fn reboot(&self, _: BootId) -> Result<(), PlatformError> {
        Err(PlatformError::Unavailable("systemctl hangs".to_owned()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_reboot_that_fails_is_an_alert_of_the_node_until_it_succeeds() {
    let fake = Fake::new();
    taker(&fake).take_over(&takeover(1)).await.unwrap();
    let own = engine(&fake, A, boot(0xa1));
    let stuck = Keeper::new(own.clone(), Arc::new(Stuck));
    let turns = tokio::time::timeout(Duration::from_secs(5), stuck.run());
    assert!(turns.await.is_err());
    let alerts = own.alerts().await.unwrap();
    assert!(
        matches!(alerts.as_slice(), [one] if one.contains("part of ctl-a") && one.contains("systemctl hangs")),
        "{alerts:?}"
    );
    let power = Arc::new(Power::default());
    let well = Keeper::new(own.clone(), power.clone());
    let turns = tokio::time::timeout(Duration::from_secs(5), well.run());
    assert!(turns.await.is_err());
    assert!(!power.0.lock().unwrap().is_empty());
    assert_eq!(own.alerts().await.unwrap(), Vec::<String>::new());
}
