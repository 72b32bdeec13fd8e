//! How a stack gets from what AWS has to what the blueprint wants: inventory, comparison, plan, run.

mod choice;
mod control;
mod diff;
mod event;
mod forecast;
mod graph;
mod inventory;
pub mod lock;
mod operate;
mod plan;
pub mod record;
mod run;

pub use choice::choose;
pub use diff::{Attribute, compare};
pub use event::{Event, Observer, Outcome};
pub use forecast::{Forecast, Interruption, forecast};
pub use graph::Cycle;
pub use inventory::{Gap, Inventory, Owned};
pub use plan::{Action, DESTROYED, FORMAT_VERSION, Omission, Plan, Step, Summary, check, plan, plan_destroy};
pub use run::{Failure, Options, Report, run};
