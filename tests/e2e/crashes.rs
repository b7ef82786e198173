//! `kill -9` at every crash point and at random moments: nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rig::shop;

use crate::world::{PATIENCE, World};

type Traffic = tokio::task::JoinHandle<u64>;

async fn shop_world() -> World {
    let world = World::new("").await;
    world.sql("DROP SCHEMA shop").await;
    shop::create(&world.client).await.unwrap();
    world
}

async fn traffic(world: &World, seed: u64, stop: Arc<AtomicBool>) -> Traffic {
    let client = world.cluster.client().await.unwrap();
    tokio::spawn(async move {
        let mut traffic = shop::Traffic::new(seed);
        traffic.run(&client, Duration::from_millis(2), || stop.load(Relaxed)).await.unwrap();
        traffic.done()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_point_loses_nothing() {
    let world = shop_world().await;
    world.streaming().await.kill().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let traffic = traffic(&world, 2, stop.clone()).await;
    // Each point is passed a few times before it strikes, so that there is something to lose.
    let points =
        ["after_receive:20", "mid_body:12", "after_send:12", "before_checkpoint:3", "before_ack:3", "after_ack:3"];
    for point in points {
        let mut sidecar = world.start_with(&[("SLUICEGATE_FAILPOINT", point)]);
        let ended =
            sidecar.wait(PATIENCE).unwrap().unwrap_or_else(|| panic!("{point} did not strike:\n{}", world.logged()));
        assert!(!ended.success(), "{point}: it was killed");
    }
    let sidecar = world.streaming().await;
    stop.store(true, Relaxed);
    traffic.await.unwrap();
    assert!(world.equal(&sidecar).await > 100, "there was something to lose");
    world.no_secret_was_logged();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_crashes_at_random_moments_lose_nothing() {
    let world = shop_world().await;
    world.streaming().await.kill().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let traffic = traffic(&world, 3, stop.clone()).await;
    let mut random = fastrand::Rng::with_seed(4);
    let mut progress = 0;
    for _ in 0..20 {
        let mut sidecar = world.start();
        // The moment itself is what is random here.
        tokio::time::sleep(Duration::from_millis(random.u64(100..2500))).await;
        sidecar.kill().unwrap();
        let confirmed =
            world.text("SELECT coalesce(max(confirmed_flush_lsn), '0/0')::text FROM pg_replication_slots").await;
        let confirmed = rig::parse_lsn(&confirmed).unwrap();
        assert!(confirmed >= progress, "the slot never goes back");
        progress = confirmed;
    }
    assert!(progress > 0, "some of the runs got somewhere");
    let sidecar = world.streaming().await;
    stop.store(true, Relaxed);
    traffic.await.unwrap();
    assert!(world.equal(&sidecar).await > 100, "there was something to lose");
}
