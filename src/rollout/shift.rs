//! Blue-green and canary: the new release gets a group of its own and a growing share of the requests.
//!
//! Killed at any moment it leaves a stack that works: the next run finds the second group and ends the deployment by rolling
//! the service's own group to the release and taking all requests back.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

pub use super::standby::id as standby_id;
use super::{
    errors::Errors,
    fleet::State,
    release,
    rolling::{Ending, Rollout, Trouble},
    standby::{Home, Standby},
};
use crate::{aws::Error, resource::Scan};

/// How the requests move over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// A group as large as the service's own, 10, 50 and 100 percent. The old one stays for an instant return.
    BlueGreen,
    /// One instance with 10 percent; if it does well, the service's own group is rolled.
    Canary,
}

impl Shift {
    fn weights(self) -> &'static [i32] {
        match self {
            Shift::BlueGreen => &[10, 50, 100],
            Shift::Canary => &[10],
        }
    }
}

impl Rollout<'_> {
    /// Brings `release` in beside the service's own group.
    ///
    /// # Errors
    /// What kept it from coming to an end.
    pub async fn shift(&self, shift: Shift, release: u64) -> Result<Ending, Trouble> {
        let (home, mut standby) = self.both().await?;
        let size = match shift {
            Shift::BlueGreen => self.look().await?.desired.max(1),
            Shift::Canary => 1,
        };
        let errors = Errors::begin(self.cx, std::slice::from_ref(&home.target.id), self.errors).await?;
        self.permitted()?;
        let target = match &standby.target {
            Some(target) => target.clone(),
            None => home.make_target(self.cx).await?,
        };
        // The load balancer checks only what it routes to, be it with no share.
        home.weigh(self.cx, &target, 0).await?;
        standby.target = Some(target.clone());
        if standby.group.is_none() {
            self.tell(&format!("a second group with {size} of release {release}"));
            standby.group = Some(home.make_group(self.cx, &target, release, size).await?);
        }
        let errors = errors.alone_at(&target);
        match self.move_over(shift, &home, &standby, &target, &errors, size).await? {
            None if shift == Shift::BlueGreen => {
                self.tell("the old instances stay, without requests, until the next `apply` or `deploy`");
                release::redeem(self.cx, &self.look().await?.template, release).await?;
                Ok(Ending::Done { release, replaced: 0 })
            }
            None => self.settle().await,
            Some(why) => {
                let own = self.look().await?;
                self.give_up(&home, &standby, &own.template, release, own.release, why).await
            }
        }
    }

    /// Waits for health, then moves the requests share by share. The answer is what went wrong.
    async fn move_over(
        &self,
        shift: Shift,
        home: &Home,
        standby: &Standby,
        target: &str,
        errors: &Errors,
        size: i32,
    ) -> Result<Option<String>, Trouble> {
        let loud = self.going_off(&self.alarms).await?;
        if let Some(why) = self.until_healthy(standby, size).await? {
            return Ok(Some(why));
        }
        for weight in shift.weights() {
            self.permitted()?;
            home.weigh(self.cx, target, *weight).await?;
            self.tell(&format!("{weight} % of the requests; watching for {} s", self.bake.as_secs()));
            let begun = Instant::now();
            while begun.elapsed() < self.bake {
                if let Some(why) = self.trouble(standby, &loud, errors, size).await? {
                    return Ok(Some(why));
                }
                self.pause().await?;
            }
        }
        self.trouble(standby, &loud, errors, size).await
    }

    async fn until_healthy(&self, standby: &Standby, size: i32) -> Result<Option<String>, Trouble> {
        let begun = Instant::now();
        loop {
            let healthy = self.healthy(standby).await?;
            if healthy >= size {
                return Ok(None);
            }
            if begun.elapsed() > self.patience {
                let seconds = self.patience.as_secs();
                return Ok(Some(format!("{healthy} of {size} instances healthy after {seconds} s")));
            }
            self.pause().await?;
        }
    }

    async fn healthy(&self, standby: &Standby) -> Result<i32, Trouble> {
        let fleet = standby.fleet(self.cx).await?.unwrap_or_default();
        Ok(i32::try_from(fleet.count(State::Healthy)).unwrap_or(i32::MAX))
    }

    /// An alarm that wasn't going off before, answers with 5xx, or an instance that the load balancer no longer likes.
    async fn trouble(
        &self,
        standby: &Standby,
        loud: &BTreeSet<String>,
        errors: &Errors,
        size: i32,
    ) -> Result<Option<String>, Trouble> {
        let now = self.going_off(&self.alarms).await?;
        if let Some(alarm) = now.difference(loud).next() {
            return Ok(Some(format!("alarm {alarm} went off")));
        }
        // The service's alarms look at its own target group, and not at the second one.
        if let Some(why) = errors.trouble(self.cx).await? {
            return Ok(Some(why));
        }
        let healthy = self.healthy(standby).await?;
        Ok((healthy < size).then(|| format!("{healthy} of {size} instances of the second group healthy")))
    }

    /// All requests back to the service's own group at once, and the second one gone.
    async fn give_up(
        &self,
        home: &Home,
        standby: &Standby,
        template: &str,
        from: u64,
        to: u64,
        why: String,
    ) -> Result<Ending, Trouble> {
        self.tell(&format!("back to release {to}: {why}"));
        self.permitted()?;
        home.reclaim(self.cx).await?;
        release::go_back(self.cx, self.group, template, from, to).await?;
        self.clear_away(standby).await?;
        Ok(Ending::RolledBack { from, to, why })
    }

    /// Ends a deployment with a second group: the service's own group is rolled to the current release and gets all
    /// requests back.
    ///
    /// # Errors
    /// What kept it from coming to an end.
    pub async fn settle(&self) -> Result<Ending, Trouble> {
        let (home, standby) = self.both().await?;
        let template = self.look().await?.template;
        let current = release::current(self.cx, &template).await?;
        self.permitted()?;
        release::make_current(self.cx, self.group, &template, current).await?;
        let ending = self.run().await?;
        // Given up or not: from here on the service's own group runs what is current.
        home.reclaim(self.cx).await?;
        self.clear_away(&standby).await?;
        Ok(ending)
    }

    /// The instant return: the old instances of a blue-green deployment get their requests back. None if there is no second
    /// group.
    ///
    /// # Errors
    /// What kept it from coming to an end.
    pub async fn turn_back(&self) -> Result<Option<Ending>, Trouble> {
        let (home, standby) = self.both().await?;
        let Some(fleet) = standby.fleet(self.cx).await? else { return Ok(None) };
        let own = self.look().await?;
        if fleet.release == own.release {
            return Ok(None);
        }
        let why = "asked for".to_owned();
        self.give_up(&home, &standby, &own.template, fleet.release, own.release, why).await.map(Some)
    }

    async fn both(&self) -> Result<(Home, Standby), Trouble> {
        let scan = Scan::new(self.cx);
        let home = Home::find(&scan, self.service).await?;
        let home = home.ok_or_else(|| Trouble::NoGroup(self.group.to_owned()))?;
        let standby = home.standby(&scan).await?;
        Ok((home, standby))
    }

    /// Its instances finish their requests before it goes.
    async fn clear_away(&self, standby: &Standby) -> Result<(), Trouble> {
        standby.empty(self.cx).await?;
        let begun = Instant::now();
        while standby.fleet(self.cx).await?.is_some_and(|fleet| !fleet.members.is_empty()) {
            if begun.elapsed() > self.patience + Duration::from_secs(300) {
                break;
            }
            self.pause().await?;
        }
        self.permitted()?;
        standby.remove(self.cx).await?;
        Ok(())
    }
}

/// Whether a service has a second group, which the next run is to end.
///
/// # Errors
/// Calls that failed.
pub async fn is_under_way(scan: &Scan<'_>, service: &str) -> Result<bool, Error> {
    match Home::find(scan, service).await? {
        Some(home) => Ok(home.standby(scan).await?.is_there()),
        None => Ok(false),
    }
}
