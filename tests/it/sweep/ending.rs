//! How a run may end before its time.

use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use crate::sweep::Stage;

/// How long a run may take to leave when it was asked to in order: SIGTERM's grace, and room on a busy machine.
const LEAVING: Duration = Duration::from_secs(30);

/// What happens to a run while a call of its is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `kill -9`, and its lease runs out.
    Kill,
    /// `kill -9` while EC2's lists lag behind, and the lock is broken at once.
    KillLagging,
    /// SIGTERM, and the call ends without an answer.
    Terminate,
    /// SIGTERM, and the call never ends.
    TerminateStuck,
    /// Ctrl-C, and the call ends without an answer.
    Interrupt,
    /// Ctrl-C, and again while the call is still under way.
    InterruptTwice,
}

impl Ending {
    pub const SIGNALS: [Ending; 4] =
        [Ending::Terminate, Ending::TerminateStuck, Ending::Interrupt, Ending::InterruptTwice];

    pub fn name(self) -> &'static str {
        match self {
            Ending::Kill => "kill -9",
            Ending::KillLagging => "kill -9, EC2's lists 3 s behind, lock broken at once,",
            Ending::Terminate => "SIGTERM",
            Ending::TerminateStuck => "SIGTERM, call stuck",
            Ending::Interrupt => "Ctrl-C",
            Ending::InterruptTwice => "Ctrl-C twice",
        }
    }

    /// By how many seconds EC2's lists lag behind.
    pub fn lag(self) -> Option<u64> {
        (self == Ending::KillLagging).then_some(3)
    }

    /// Brings it upon the run, and looks how it leaves.
    ///
    /// # Errors
    /// In words, how it left otherwise than it should.
    pub async fn befall(self, stage: &Stage, mut child: Child) -> Result<(), String> {
        match self {
            Ending::Kill => {
                kill(&mut child).await?;
                stage.let_go(None).await;
                stage.let_lease_run_out().await;
                Ok(())
            }
            Ending::KillLagging => {
                kill(&mut child).await?;
                stage.let_go(self.lag()).await;
                stage.break_lock().await
            }
            Ending::Terminate | Ending::Interrupt => {
                let (signal, code) = if self == Ending::Interrupt { ("INT", 130) } else { ("TERM", 143) };
                send(signal, &child).await;
                // It is to have heard of it before the call ends.
                tokio::time::sleep(Duration::from_millis(300)).await;
                stage.let_go(None).await;
                expect(code, left(&mut child).await?)?;
                if stage.is_locked().await { Err("it kept the lock".to_owned()) } else { Ok(()) }
            }
            Ending::TerminateStuck | Ending::InterruptTwice => {
                let (signal, code) = if self == Ending::InterruptTwice { ("INT", 130) } else { ("TERM", 143) };
                send(signal, &child).await;
                if self == Ending::InterruptTwice {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    send(signal, &child).await;
                }
                expect(code, left(&mut child).await?)?;
                stage.let_go(None).await;
                stage.break_lock().await
            }
        }
    }
}

async fn kill(child: &mut Child) -> Result<(), String> {
    child.kill().map_err(|error| error.to_string())?;
    left(child).await.map(drop)
}

pub async fn send(signal: &str, child: &Child) {
    let (option, pid) = (format!("-{signal}"), child.id().to_string());
    let sent = tokio::process::Command::new("kill").args([option, pid]).status().await.expect("kill runs");
    assert!(sent.success(), "the run has ended before {signal}");
}

/// The exit status of a run that is to leave now.
pub async fn left(child: &mut Child) -> Result<ExitStatus, String> {
    let begun = Instant::now();
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => return Ok(status),
            None if begun.elapsed() < LEAVING => tokio::time::sleep(Duration::from_millis(15)).await,
            None => {
                let _ = child.kill();
                return Err(format!("it hadn't left after {} s", LEAVING.as_secs()));
            }
        }
    }
}

fn expect(code: i32, status: ExitStatus) -> Result<(), String> {
    if status.code() == Some(code) { Ok(()) } else { Err(format!("it left with {status} and not with {code}")) }
}
