//! Instances behind a load balancer: they boot their user data, serve in turn, heal, are replaced, and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ticketctl::local::plane::State;

use super::backend::get;
use super::service::{GROUP, Service, hosts};
use super::world::{World, kill, listens, said};

/// Clients that ask all the time, and fail with the first answer that isn't right.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn on(url: &str) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients = (0..4).map(|_| {
            let (url, stop, done) = (format!("{url}/slow"), stop.clone(), done.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let (status, body) = get(&url).await;
                    assert_eq!(status, 200, "{body}");
                    done.fetch_add(1, Ordering::SeqCst);
                }
            })
        });
        Self { clients: clients.collect(), stop, done }
    }

    /// How many requests were answered, all of them well.
    async fn end(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await.expect("every request was answered well");
        }
        self.done.load(Ordering::SeqCst)
    }
}

async fn set_desired(world: &World, desired: i32) {
    let call = world.cx.autoscaling.set_desired_capacity().auto_scaling_group_name(GROUP);
    call.desired_capacity(desired).send().await.expect("another size");
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_boot_serve_in_turn_heal_are_replaced_and_go() {
    let mut world = World::start().await;
    let service = Service::make(&world.cx, 2, 4).await;
    let url = service.url(&world).await;
    let first = service.healthy(&world, 2).await;
    assert_eq!(hosts(&url).await.len(), 2);
    let entry = |world: &World, id: &str| world.entry(id).unwrap_or_else(|| panic!("no {id}: {:#?}", world.status()));
    let log = std::fs::read_to_string(world.data.join(format!("logs/instance-{}.log", first[0]))).expect("a log");
    for wanted in ["boot as 0 on ip-127-77-", ", aws-cli", "shop is active", "serving", "boot ended with code 0"] {
        assert!(log.contains(wanted), "{wanted}: {log}");
    }

    // A program that ends is started again, as its unit says.
    let one = entry(&world, &first[0]);
    let at = format!("http://{}/exit", one.address);
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
    let client: hyper_util::client::legacy::Client<_, super::backend::Body> = client.build_http();
    assert!(client.get(at.parse().expect("a URL")).await.is_err(), "it ended instead of answering");
    let restarted = || entry(&world, &first[0]).detail.contains("shop active, restarted 1 times, last exit code 3");
    world.until("the program runs again", || (restarted() && listens(&one.address)).then_some(())).await;
    service.healthy(&world, 2).await;
    assert_eq!(entry(&world, &first[0]).pid, one.pid);

    // A supervisor that is killed takes nothing with it, and the next one takes everything over.
    let since = world.status().since;
    world.kill_supervisor();
    assert!(listens(&one.address));
    world.supervise();
    world.until("another supervisor", || (world.status().since != since).then_some(())).await;
    assert_eq!(service.healthy(&world, 2).await, first);
    assert_eq!(entry(&world, &first[0]).pid, one.pid);

    // An instance that dies is replaced by its group.
    kill(one.pid.expect("a process"));
    world.until("the dead one is gone", || world.entry(&first[0]).is_none().then_some(())).await;
    let second = service.healthy(&world, 2).await;
    assert!(second.contains(&first[1]) && !second.contains(&first[0]), "{first:?} {second:?}");

    // One that is terminated ends what it is at, under load, and is replaced too.
    let load = Load::on(&url);
    world.cx.ec2.terminate_instances().instance_ids(&first[1]).send().await.expect("it is terminated");
    world.until("the terminated one is gone", || world.entry(&first[1]).is_none().then_some(())).await;
    let third = service.healthy(&world, 2).await;
    assert!(!third.contains(&first[1]), "{third:?}");
    set_desired(&world, 3).await;
    let grown = service.healthy(&world, 3).await;
    assert_eq!(hosts(&url).await.len(), 3);
    set_desired(&world, 1).await;
    let left = service.healthy(&world, 1).await;
    world
        .until("one instance is left", || {
            let entries = world.status().entries;
            let instances: Vec<_> = entries.iter().filter(|entry| entry.name.starts_with("instance-")).collect();
            (instances.len() == 1 && instances[0].resource == left[0] && instances[0].state == State::Running)
                .then_some(())
        })
        .await;
    let answered = load.end().await;
    assert!(answered > 20 && grown.contains(&left[0]), "{answered} requests");

    // With a certificate it speaks HTTPS, as the local authority vouches for.
    service.listen_securely(&world.cx).await;
    let places = || world.entry("shop-test-alb").map(|entry| entry.address).unwrap_or_default();
    let place = world.until("a second listener", || places().split_once(", ").map(|(_, place)| place.to_owned())).await;
    let mut curl = std::process::Command::new("curl");
    curl.args(["--silent", "--show-error", "--cacert"]).arg(world.authority()).arg(format!("https://{place}/"));
    let answer = said(tokio::task::spawn_blocking(move || curl.output()).await.expect("no panic").expect("curl runs"));
    assert!(answer.ends_with("hello \"shop\""), "{answer}");

    let addresses: Vec<String> = world.status().entries.into_iter().map(|entry| entry.address).collect();
    service.delete(&world.cx).await;
    world.until("nothing is left", || world.status().entries.is_empty().then_some(())).await;
    let places = addresses.iter().flat_map(|address| address.split(", "));
    assert!(places.clone().all(|place| !listens(place)), "{addresses:?}");
    world.kill_supervisor();
    assert_eq!(world.processes(), Vec::<String>::new());
}
