//! Aurora: a writer and a reader that really replicate, fail over, heal, stop and go.

use std::process::{Command, Output};

use serde_json::Value;

use super::world::{World, kill, listens, said};

const CLUSTER: &str = "shop-test-cluster";
const FIRST: &str = "shop-test-1";
const SECOND: &str = "shop-test-2";

/// The database as a client sees it.
struct Shop<'a> {
    world: &'a World,
    endpoint: String,
    reader_endpoint: String,
    password: String,
}

impl<'a> Shop<'a> {
    /// Makes the cluster and its instances through the API.
    async fn make(world: &'a World) -> Self {
        let rds = &world.cx.rds;
        let group = "shop-test-parameters";
        rds.create_db_cluster_parameter_group()
            .db_cluster_parameter_group_name(group)
            .db_parameter_group_family("aurora-mysql8.0")
            .description("of a test")
            .send()
            .await
            .expect("a parameter group");
        let secure = aws_sdk_rds::types::Parameter::builder()
            .parameter_name("require_secure_transport")
            .parameter_value("ON")
            .apply_method(aws_sdk_rds::types::ApplyMethod::Immediate)
            .build();
        rds.modify_db_cluster_parameter_group()
            .db_cluster_parameter_group_name(group)
            .parameters(secure)
            .send()
            .await
            .expect("a parameter");
        let answer = rds
            .create_db_cluster()
            .db_cluster_identifier(CLUSTER)
            .engine("aurora-mysql")
            .engine_version("8.0.mysql_aurora.3.10.4")
            .master_username("admin")
            .manage_master_user_password(true)
            .database_name("shop")
            .db_cluster_parameter_group_name(group)
            .send()
            .await
            .expect("a cluster");
        let cluster = answer.db_cluster().expect("a cluster");
        for id in [FIRST, SECOND] {
            let create = rds.create_db_instance().db_instance_identifier(id).db_cluster_identifier(CLUSTER);
            create.engine("aurora-mysql").db_instance_class("db.t3.medium").send().await.expect("an instance");
        }
        let arn = cluster.master_user_secret().and_then(|secret| secret.secret_arn()).expect("a secret");
        let secret = world.cx.secrets.get_secret_value().secret_id(arn).send().await.expect("its value");
        let secret: Value = serde_json::from_str(secret.secret_string().expect("text")).expect("JSON");
        Self {
            world,
            endpoint: cluster.endpoint().expect("an endpoint").to_owned(),
            reader_endpoint: cluster.reader_endpoint().expect("a reader endpoint").to_owned(),
            password: secret["password"].as_str().expect("a password").to_owned(),
        }
    }

    /// Runs a statement at an endpoint, as the application would: name, TLS, password.
    fn try_at(&self, endpoint: &str, tls: &[&str], statement: &str) -> Output {
        let address = self.world.resolve(endpoint).into_iter().next().unwrap_or_else(|| "127.0.0.1".to_owned());
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "--batch", "--skip-column-names", "--user=admin", "--connect-timeout=5"]);
        client.arg(format!("--host={address}")).args(tls).arg(format!("--execute={statement}")).arg("shop");
        client.env("MYSQL_PWD", &self.password).output().expect("mariadb runs")
    }

    fn at(&self, endpoint: &str, statement: &str) -> Output {
        let authority = format!("--ssl-ca={}", self.world.authority().display());
        self.try_at(endpoint, &[&authority, "--ssl-verify-server-cert"], statement)
    }

    #[track_caller]
    fn write(&self, statement: &str) {
        said(self.at(&self.endpoint, statement));
    }

    /// Waits until the database takes a statement, and answers with what it says.
    async fn answers(&self, endpoint: &str, statement: &str) -> String {
        let what = format!("{statement} is taken at {endpoint}");
        let look = || {
            let output = self.at(endpoint, statement);
            output.status.success().then(|| said(output))
        };
        self.world.until(&what, look).await
    }

    /// Waits until the tickets that a reader or writer has are these.
    async fn has(&self, endpoint: &str, tickets: &str) {
        let statement = "SELECT GROUP_CONCAT(id ORDER BY id) FROM tickets";
        let look = || {
            let output = self.at(endpoint, statement);
            (output.status.success() && said(output) == tickets).then_some(())
        };
        self.world.until(&format!("{tickets} at {endpoint}"), look).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_replicates_heals_fails_over_without_loss_stops_starts_and_goes() {
    let mut world = World::start().await;
    {
        let shop = Shop::make(&world).await;
        let entries = world.run(&[(FIRST, "writer"), (SECOND, "reader")]).await;
        assert_eq!(world.resolve(&shop.endpoint), [entries[0].address.trim_end_matches(":3306")]);
        assert_eq!(world.resolve(&shop.reader_endpoint), [entries[1].address.trim_end_matches(":3306")]);

        shop.write("CREATE TABLE tickets (id INT PRIMARY KEY); INSERT INTO tickets VALUES (1)");
        shop.has(&shop.reader_endpoint, "1").await;
        let refused = shop.at(&shop.reader_endpoint, "INSERT INTO tickets VALUES (99)");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("read-only"), "{refused:?}");
        assert_eq!(shop.answers(&shop.endpoint, "SELECT @@require_secure_transport").await, "1");
        let plain = shop.try_at(&shop.endpoint, &["--skip-ssl"], "SELECT 1");
        assert!(!plain.status.success(), "{plain:?}");
        for endpoint in [&shop.endpoint, &shop.reader_endpoint] {
            let certificate = world.data.join(format!("authority/database-{FIRST}.pem"));
            let mut verify = Command::new("openssl");
            verify.args(["verify", "-verify_hostname", endpoint, "-CAfile"]).arg(world.authority());
            said(verify.arg(certificate).output().expect("openssl runs"));
        }

        // Killed, it comes back with what it had, on the same address.
        kill(entries[0].pid.expect("a process"));
        let look = || world.entry(FIRST).filter(|entry| entry.pid.is_some() && entry.pid != entries[0].pid);
        world.until("another process", look).await;
        let again = world.run(&[(FIRST, "writer")]).await;
        assert_eq!((&again[0].address, again[0].restarts), (&entries[0].address, 1));
        assert_eq!(
            shop.answers(&shop.endpoint, "INSERT INTO tickets VALUES (2); SELECT COUNT(*) FROM tickets").await,
            "2"
        );

        // A failover moves the endpoint, loses nothing, and the old writer follows.
        let failover = world.cx.rds.failover_db_cluster().db_cluster_identifier(CLUSTER);
        failover.target_db_instance_identifier(SECOND).send().await.expect("a failover");
        let entries = world.run(&[(SECOND, "writer"), (FIRST, "reader")]).await;
        assert_eq!(world.resolve(&shop.endpoint), [entries[0].address.trim_end_matches(":3306")]);
        shop.has(&shop.endpoint, "1,2").await;
        shop.write("INSERT INTO tickets VALUES (3)");
        shop.has(&shop.reader_endpoint, "1,2,3").await;

        // Stopped and started, it has everything.
        world.cx.rds.stop_db_cluster().db_cluster_identifier(CLUSTER).send().await.expect("a stop");
        world.until("nothing listens", || entries.iter().all(|entry| !listens(&entry.address)).then_some(())).await;
        world.cx.rds.start_db_cluster().db_cluster_identifier(CLUSTER).send().await.expect("a start");
        world.run(&[(SECOND, "writer"), (FIRST, "reader")]).await;
        shop.has(&shop.endpoint, "1,2,3").await;
    }
    // A supervisor that is killed leaves them running; the next one takes them over.
    let before = world.run(&[(SECOND, "writer"), (FIRST, "reader")]).await;
    world.kill_supervisor();
    assert!(before.iter().all(|entry| listens(&entry.address)));
    let since = world.status().since;
    world.supervise();
    world.until("another supervisor", || (world.status().since != since).then_some(())).await;
    let after = world.run(&[(SECOND, "writer"), (FIRST, "reader")]).await;
    let pids = |entries: &[ticketctl::local::plane::Entry]| entries.iter().map(|entry| entry.pid).collect::<Vec<_>>();
    assert_eq!(pids(&before), pids(&after));

    for id in [FIRST, SECOND] {
        let delete = world.cx.rds.delete_db_instance().db_instance_identifier(id).skip_final_snapshot(true);
        delete.send().await.expect("an end");
    }
    let delete = world.cx.rds.delete_db_cluster().db_cluster_identifier(CLUSTER).skip_final_snapshot(true);
    delete.send().await.expect("an end");
    world.until("nothing is left", || world.status().entries.is_empty().then_some(())).await;
    world.until("no address listens", || after.iter().all(|entry| !listens(&entry.address)).then_some(())).await;
    world.kill_supervisor();
    assert_eq!(world.processes(), Vec::<String>::new());
    let left: Vec<_> = std::fs::read_dir(world.data.join("database")).expect("a directory").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}
