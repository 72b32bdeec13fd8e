//! What most commands begin with: the stack file, the connection to AWS, the blueprint, the look at what is there.

use jiff::Timestamp;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::OnceCell;

use super::{Failure, Global, Result, local};
use crate::{
    aws::{Context, Error, Target},
    blueprint::{self, Blueprint, Images},
    engine::Inventory,
    resource::Scan,
    rollout::{Artifacts, Machine},
    stack::{self, Stack},
    ui,
};

/// How far AWS's lists may lag behind its changes. They mostly do for a second or two.
const LISTING_LAG: Duration = Duration::from_secs(5);

/// A stack file and where it lives.
pub struct Project {
    pub stack: Stack,
    pub cx: Context,
    pub quiet: bool,
    /// The stack file's folder.
    pub folder: PathBuf,
    /// Which machine image a look finds for the services.
    pub images: Images,
    programs: OnceCell<Artifacts>,
}

impl Project {
    /// Reads and checks the stack file and connects.
    pub async fn open(global: &Global) -> Result<Project> {
        let stack = stack(global)?;
        let endpoint_url = match global.local {
            true => Some(local::up(global, None, false).await?.endpoint),
            false => global.endpoint_url.clone().filter(|url| !url.is_empty()),
        };
        let target = Target {
            region: global.region.clone(),
            profile: global.profile.clone(),
            endpoint_url,
            local_credentials: global.local,
        };
        let cx = Context::load(stack.name(), &stack.region, &target).await;
        let folder = global.file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).to_owned();
        let (quiet, images) = (global.quiet, Images::default());
        Ok(Project { stack, cx, quiet, folder, images, programs: OnceCell::new() })
    }

    /// The programs that the stack file names; read once.
    pub async fn programs(&self) -> &Artifacts {
        let read = || async { Artifacts::read(&self.stack, Machine::of(&self.cx).await).await };
        self.programs.get_or_init(read).await
    }

    /// The blueprint and the inventory, asked for at the same time.
    pub async fn look(&self) -> Result<(Blueprint, Inventory)> {
        self.look_with(&Scan::new(&self.cx)).await
    }

    /// Like [`Project::look`], but with as few calls as possible: enough to say that nothing is to do (see [`Scan`]). What
    /// it finds to do, a full look must confirm.
    pub async fn glance(&self) -> Result<(Blueprint, Inventory)> {
        self.look_with(&Scan::sparing(&self.cx)).await
    }

    async fn look_with(&self, scan: &Scan<'_>) -> Result<(Blueprint, Inventory)> {
        let facts = async { blueprint::facts(scan, &self.stack, self.programs().await, self.images).await };
        let (facts, inventory) = tokio::join!(facts, Inventory::of(scan));
        let blueprint = blueprint::compile(&self.stack, &facts?);
        Ok((blueprint, inventory.map_err(|errors| unreadable(&errors))?))
    }

    /// A warning, unless only results and errors are wanted.
    pub fn tell_warning(&self, warning: impl std::fmt::Display) {
        if !self.quiet {
            ui::warn(warning);
        }
    }

    /// Like [`Project::look`], but to take everything away. Who uses whom matters then, but not which images AWS offers today: a question
    /// without an answer must not be in the way.
    pub async fn look_to_destroy(&self) -> Result<(Blueprint, Inventory)> {
        let scan = Scan::new(&self.cx);
        let (facts, inventory) = tokio::join!(blueprint::facts_of_place(&scan), Inventory::of(&scan));
        Ok((blueprint::compile(&self.stack, &facts?), inventory.map_err(|errors| unreadable(&errors))?))
    }

    /// For after a run that died at `end` or before: AWS's lists lag behind what it did, so this looks until two inventories in a
    /// row agree, and some time has passed.
    pub async fn settled(&self, mut before: Inventory, end: Timestamp) -> Result<Inventory> {
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = Inventory::take(&self.cx).await.map_err(|errors| unreadable(&errors))?;
            if now.agrees(&before) && Timestamp::now() > end + LISTING_LAG {
                return Ok(now);
            }
            before = now;
        }
        Err(Failure::new("the run before this one ended uncleanly, and what AWS lists hasn't come to rest since")
            .hint("run the command again in a minute"))
    }
}

/// Reads and checks the stack file, and connects to nothing.
pub fn stack(global: &Global) -> Result<Stack> {
    let loaded =
        stack::load(&global.file, &global.sets()).map_err(|diagnostics| Failure::rendered(diagnostics.render(true)))?;
    if !loaded.warnings.is_empty() && !global.quiet {
        ui::tell(loaded.warnings.render(true));
    }
    Ok(loaded.stack)
}

/// Refuses a blueprint that can't be made.
pub fn sound(blueprint: &Blueprint) -> Result<()> {
    match blueprint.faults.split_first() {
        None => Ok(()),
        Some((first, others)) => Err(others.iter().fold(Failure::new(first), Failure::caused_by)),
    }
}

/// The failure of a look at AWS.
pub fn unreadable(errors: &[Error]) -> Failure {
    let Some((first, others)) = errors.split_first() else { return Failure::new("what AWS has can't be listed") };
    let failure = Failure::from(first.clone());
    others.iter().take(4).fold(failure, |failure, error| failure.caused_by(error))
}
