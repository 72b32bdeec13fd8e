//! `ticketing admin`.

use crate::accounts::{self, Role};
use crate::config::DatabaseArgs;
use crate::db;
use clap::Subcommand;

#[derive(Subcommand)]
pub enum AdminCommand {
    /// Create an administrator, or make an existing account one, set its password and end its sessions
    Create {
        #[command(flatten)]
        database: DatabaseArgs,
        /// E-mail address to log in with
        #[arg(long)]
        email: String,
        /// Password, at least 8 characters
        #[arg(long, env = "TICKETING_ADMIN_PASSWORD", hide_env_values = true)]
        password: String,
        /// Name to show
        #[arg(long, default_value = "Administrator")]
        name: String,
        /// Role to give
        #[arg(long, value_enum, default_value_t = Role::Admin)]
        role: Role,
    },
}

pub async fn run(command: AdminCommand) -> anyhow::Result<()> {
    let AdminCommand::Create { database, email, password, name, role } = command;
    let pool = db::pool_for(&database).await?;
    let user = accounts::upsert(&pool, &email, &password, &name, role).await?;
    println!("{} {} {}", user.user_id, user.role.as_str(), user.email);
    Ok(())
}
