//! Who writes and who follows: what makes a cluster of servers.

use std::collections::BTreeMap;

use super::server::{REPLICATION, Server, name, quoted};
use crate::local::plane::Error;
use crate::local::plane::world::DatabaseCluster;

/// What Aurora's master user may do: everything but what would get in the supervisor's way, as on RDS.
/// Source: "Master user account privileges", Amazon Aurora User Guide.
const PRIVILEGES: &str = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, PROCESS, REFERENCES, INDEX, ALTER, SHOW DATABASES, \
     CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, REPLICATION SLAVE, REPLICATION CLIENT, CREATE VIEW, SHOW VIEW, \
     CREATE ROUTINE, ALTER ROUTINE, CREATE USER, EVENT, TRIGGER";

/// How long a reader may take to have all that the writer has, in seconds.
const CATCH_UP: u32 = 8;

/// Parameters of Aurora that a running MariaDB is not asked to change: the time zone is in its environment.
const ELSEWHERE: [&str; 1] = ["time_zone"];

/// Lets the writer take writes, and makes what belongs to the cluster: accounts, database. May be repeated.
///
/// # Errors
/// When the server refuses.
pub async fn open(server: &Server, cluster: &DatabaseCluster, password: Option<&str>) -> Result<(), Error> {
    let mut statements = format!(
        "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL rpl_semi_sync_slave_enabled = 0;\n\
         CREATE USER IF NOT EXISTS {REPLICATION}@'%' REQUIRE SUBJECT '/CN={REPLICATION}';\n\
         GRANT REPLICATION SLAVE ON *.* TO {REPLICATION}@'%';\n"
    );
    if let Some(password) = password {
        let (user, password) = (quoted(&cluster.username), quoted(password));
        statements += &format!(
            "CREATE USER IF NOT EXISTS {user}@'%' IDENTIFIED BY {password};\n\
             ALTER USER {user}@'%' IDENTIFIED BY {password};\n\
             GRANT {PRIVILEGES} ON *.* TO {user}@'%' WITH GRANT OPTION;\n"
        );
    }
    if let Some(database) = &cluster.database {
        statements += &format!("CREATE DATABASE IF NOT EXISTS {};\n", name(database));
    }
    statements += "SET GLOBAL rpl_semi_sync_master_enabled = 1; SET GLOBAL read_only = 0;\n";
    server.run(&statements).await.map(|_| ())
}

/// Sets the parameters of the cluster's and the instance's groups, as far as MariaDB has them.
pub async fn tune(server: &Server, groups: [&BTreeMap<String, String>; 2]) {
    let parameters: BTreeMap<&String, &String> = groups.into_iter().flatten().collect();
    let statements = parameters.into_iter().filter_map(|(parameter, value)| setting(parameter, value));
    server.try_each(&statements.collect::<String>()).await;
}

fn setting(parameter: &str, value: &str) -> Option<String> {
    let is_name = parameter.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    // AWS's own formulas count with the memory of an instance class.
    if !is_name || ELSEWHERE.contains(&parameter) || value.contains('{') {
        return None;
    }
    let value = if value.parse::<f64>().is_ok() { value.to_owned() } else { quoted(value) };
    Some(format!("SET GLOBAL {parameter} = {value};\n"))
}

/// Makes a server follow the writer, from where it is. One that was the writer gives that up.
///
/// # Errors
/// When the server refuses.
pub async fn follow(server: &Server, writer: &Server) -> Result<(), Error> {
    let path = |path: &std::path::Path| quoted(&path.display().to_string());
    let statements = format!(
        "SET GLOBAL read_only = 1; STOP SLAVE;\n\
         SET GLOBAL rpl_semi_sync_master_enabled = 0; SET GLOBAL rpl_semi_sync_slave_enabled = 1;\n\
         CHANGE MASTER TO MASTER_HOST = '{}', MASTER_PORT = {}, MASTER_USER = '{REPLICATION}', MASTER_PASSWORD = '',\n\
         MASTER_SSL = 1, MASTER_SSL_VERIFY_SERVER_CERT = 1, MASTER_SSL_CA = {}, MASTER_SSL_CERT = {}, MASTER_SSL_KEY = {},\n\
         MASTER_CONNECT_RETRY = 1, MASTER_USE_GTID = slave_pos, MASTER_DEMOTE_TO_SLAVE = 1;\n\
         START SLAVE;",
        writer.address,
        writer.port,
        path(&server.authority),
        path(&server.replication.certificate),
        path(&server.replication.key),
    );
    server.run(&statements).await.map(|_| ())
}

/// What a reader has to say about its following.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Following {
    /// Whoever is the writer.
    Writer {
        address: String,
        lag: Option<u64>,
    },
    /// Another history than the writer's: it must begin anew.
    Lost(String),
    No,
}

/// Asks a reader whom it follows.
///
/// # Errors
/// When it doesn't answer.
pub async fn following(server: &Server) -> Result<Following, Error> {
    Ok(read(&server.following().await?))
}

fn read(status: &BTreeMap<String, String>) -> Following {
    let get = |name: &str| status.get(name).map(String::as_str).unwrap_or_default();
    // 1236: the writer doesn't have the position that the reader asks to go on from.
    if get("Last_IO_Errno") == "1236" || !matches!(get("Last_SQL_Errno"), "" | "0") {
        return Following::Lost(format!("{}{}", get("Last_IO_Error"), get("Last_SQL_Error")));
    }
    if get("Slave_SQL_Running") != "Yes" || get("Slave_IO_Running") == "No" {
        return Following::No;
    }
    let address = format!("{}:{}", get("Master_Host"), get("Master_Port"));
    Following::Writer { address, lag: get("Seconds_Behind_Master").parse().ok() }
}

/// Takes the writes away from a server, cuts its clients off, and waits until `heir` has all that it had. A server that is
/// dead has told its readers everything already.
///
/// # Errors
/// When the heir doesn't catch up.
pub async fn hand_over(old: Option<&Server>, heir: &Server) -> Result<(), Error> {
    let position = match old {
        Some(old) => retire(old).await,
        None => Err(Error::failed("the old writer", "it is not there")),
    };
    let position = match position {
        Ok(position) => position,
        Err(error) => {
            tracing::info!(%error, "the writer says nothing: its heir takes over with what it was told");
            heir.following().await?.get("Gtid_IO_Pos").cloned().unwrap_or_default()
        }
    };
    let waited = heir.run(&format!("SELECT MASTER_GTID_WAIT({}, {CATCH_UP});", quoted(&position))).await?;
    match waited.first().and_then(|row| row.first()).map(String::as_str) {
        Some("0") => Ok(()),
        _ => Err(Error::failed(&heir.id, format!("it does not have all changes after {CATCH_UP} s"))),
    }
}

/// Read-only, without clients; answers with its position.
async fn retire(server: &Server) -> Result<String, Error> {
    cut(server).await?;
    server.run("SET GLOBAL read_only = 1;").await?;
    cut(server).await?;
    let rows = server.run("SELECT @@gtid_binlog_pos;").await?;
    Ok(rows.into_iter().flatten().next().unwrap_or_default())
}

/// Ends the connections of all clients, so that they come again and find the new writer.
async fn cut(server: &Server) -> Result<(), Error> {
    let rows = server
        .run(&format!(
            "SELECT CONCAT('KILL ', id, ';') FROM information_schema.processlist\n\
             WHERE id <> CONNECTION_ID() AND user NOT IN ('{REPLICATION}', 'system user', 'event_scheduler');"
        ))
        .await?;
    let kills: Vec<String> = rows.into_iter().flatten().collect();
    if !kills.is_empty() {
        server.try_each(&kills.join("\n")).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_become_settings() {
        assert_eq!(setting("long_query_time", "0.5").as_deref(), Some("SET GLOBAL long_query_time = 0.5;\n"));
        assert_eq!(
            setting("require_secure_transport", "ON").as_deref(),
            Some("SET GLOBAL require_secure_transport = 'ON';\n")
        );
        assert_eq!(setting("max_connections", "{DBInstanceClassMemory/12582880}"), None);
        assert_eq!(setting("a; DROP DATABASE shop", "1"), None);
        assert_eq!(setting("time_zone", "Asia/Seoul"), None);
    }

    #[test]
    fn a_readers_state_is_read() {
        let status = |pairs: &[(&str, &str)]| {
            read(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        assert_eq!(status(&[]), Following::No);
        let good = [("Slave_IO_Running", "Yes"), ("Slave_SQL_Running", "Yes"), ("Master_Host", "127.77.1.1")];
        let good = [&good[..], &[("Master_Port", "3306"), ("Seconds_Behind_Master", "0")]].concat();
        assert_eq!(status(&good), Following::Writer { address: "127.77.1.1:3306".to_owned(), lag: Some(0) });
        let lost = [("Last_IO_Errno", "1236"), ("Last_IO_Error", "position not in binlog")];
        assert_eq!(status(&lost), Following::Lost("position not in binlog".to_owned()));
    }
}
