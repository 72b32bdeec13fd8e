//! What every kind of resource can do.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{collections::BTreeMap, future::Future, time::Duration};

use super::{blocker::Blocker, scan::Scan};
use crate::aws::{Context, Result, Tags};

/// Which resources to look for.
#[derive(Clone, Debug)]
pub enum Select<'a> {
    /// All that carry the stack's tag, or a name made from the stack's.
    Stack,
    /// The one with this AWS id.
    One(&'a str),
}

/// Where a resource is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    Ready,
    /// Not usable yet, or not any more; in AWS's words.
    Pending(String),
    /// It will not become ready; in AWS's words.
    Failed(String),
    /// Being deleted: it no longer counts as ours, but its name may still be taken.
    Deleting,
}

/// A resource that exists in AWS.
#[derive(Clone, Debug)]
pub struct Found<S = Value> {
    /// Which part of the stack it is: the value of its id tag, or what its name says.
    pub logical_id: String,
    /// What AWS calls it: an id, a name or an ARN, whatever the delete call wants.
    pub id: String,
    /// What it looks like, in the same form as the wish.
    pub spec: S,
    /// Facts that others may refer to.
    pub outputs: Outputs,
    /// Its tags, or none where the listing doesn't tell them (then they aren't compared).
    pub tags: Option<Tags>,
    pub status: Status,
}

/// Named facts about a resource, such as `arn` or `endpoint`.
pub type Outputs = BTreeMap<String, String>;

/// A resource as it is wanted, all references replaced.
#[derive(Clone, Debug)]
pub struct Desired<S> {
    pub logical_id: String,
    pub spec: S,
    pub tags: Tags,
    /// The same for the same wish: AWS answers a repeated create with the first result.
    pub token: String,
}

/// The answer of a create call.
#[derive(Clone, Debug)]
pub struct Created {
    pub id: String,
    pub outputs: Outputs,
}

impl Created {
    pub fn new(id: impl Into<String>) -> Self {
        Created { id: id.into(), outputs: Outputs::new() }
    }

    pub fn with(mut self, output: &str, value: impl Into<String>) -> Self {
        self.outputs.insert(output.to_owned(), value.into());
        self
    }
}

/// An update to carry out on a resource that exists.
#[derive(Debug)]
pub struct Change<S> {
    pub found: Found<S>,
    pub desired: Desired<S>,
    /// The attributes that differ, by path: `max_size`, `ingress[0].port`, `tags.Name`.
    pub paths: Vec<String>,
}

impl<S> Change<S> {
    /// Whether one of these top-level attributes, or a part of it, differs.
    pub fn touches(&self, attributes: &[&str]) -> bool {
        self.paths.iter().any(|path| attributes.contains(&root(path)))
    }

    /// Whether anything but tags differs.
    pub fn touches_more_than_tags(&self) -> bool {
        self.paths.iter().any(|path| root(path) != "tags")
    }

    /// Our tags that are missing or wrong.
    pub fn tags(&self) -> Option<&Tags> {
        self.touches(&["tags"]).then_some(&self.desired.tags)
    }
}

/// The attribute at the top of a path.
pub fn root(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or(path)
}

/// What changing an attribute does to the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    InPlace,
    /// In place, but the resource is not available for a while.
    Interrupts,
    Replace,
}

/// In which order a replacement goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// The old one goes first: both can't exist at once (a name, an address range).
    DeleteFirst,
    /// The new one comes first, its dependents move over, the old one goes.
    CreateFirst,
}

/// What is true of all resources of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// Deleting it loses what users can't make again.
    pub holds_data: bool,
    pub replacement: Replacement,
    /// Whether it needs time after the create and update calls until it is ready.
    pub waits: bool,
    /// Whether its deletion takes time after the call.
    pub lingers: bool,
    /// How long it may take to become ready or to be gone.
    pub timeout: Duration,
    /// How long it usually takes, for the order of dispatch and the forecast.
    pub usual: Duration,
}

impl Traits {
    /// Made, changed and deleted by the call itself.
    pub const INSTANT: Traits = Traits {
        holds_data: false,
        replacement: Replacement::DeleteFirst,
        waits: false,
        lingers: false,
        timeout: Duration::from_secs(120),
        usual: Duration::from_secs(1),
    };

    /// Needs `usual` seconds to become ready and to be gone, and fails after `timeout` seconds.
    pub const fn slow(usual: u64, timeout: u64) -> Traits {
        Traits {
            waits: true,
            lingers: true,
            timeout: Duration::from_secs(timeout),
            usual: Duration::from_secs(usual),
            ..Traits::INSTANT
        }
    }

    pub const fn holding_data(self) -> Traits {
        Traits { holds_data: true, ..self }
    }

    pub const fn create_first(self) -> Traits {
        Traits { replacement: Replacement::CreateFirst, ..self }
    }
}

/// A kind of AWS resource: how to find, make, change and delete it.
///
/// `Spec` is the wish and the answer alike: [`Kind::find`] fills it from what AWS says, so that the two can be compared
/// attribute by attribute. An `Option` that is none in the wish is an attribute that isn't ours to decide.
pub trait Kind: Send + Sync + 'static {
    /// In snake case, as in the file's name: `nat_gateway`.
    const NAME: &'static str;
    const TRAITS: Traits;
    type Spec: Serialize + DeserializeOwned + Send + Sync;

    /// What changing an attribute (by path) does. In place unless a kind says otherwise.
    fn effect(_path: &str) -> Effect {
        Effect::InPlace
    }

    /// Takes over from what exists the attributes that AWS moves on by itself and that must not be moved back, such as a
    /// minor version that automatic upgrades have passed. Called before the two are compared.
    fn follow(_wish: &mut Self::Spec, _found: &Self::Spec) {}

    /// Whether an update gives this output another value: who refers to it changes too, once the update is done.
    fn renews(_output: &str) -> bool {
        false
    }

    /// Whether the resource with this AWS id can't be deleted, because AWS itself removes it after a while. If it is no
    /// longer wanted, nothing is to do.
    fn lapses(_id: &str) -> bool {
        false
    }

    /// Looks for resources; paginated, and without a call per resource wherever AWS allows.
    fn find(scan: &Scan<'_>, select: &Select<'_>) -> impl Future<Output = Result<Vec<Found<Self::Spec>>>> + Send;

    /// The tags of a resource, for a kind whose listing doesn't tell them: a call per resource, which a sparing look leaves
    /// out.
    fn tags(_cx: &Context, _id: &str, _outputs: &Outputs) -> impl Future<Output = Result<Option<Tags>>> + Send {
        async { Ok(None) }
    }

    /// Makes the resource, tags in the same call. Called again after a lost answer, it must not make a second one.
    fn create(cx: &Context, desired: &Desired<Self::Spec>) -> impl Future<Output = Result<Created>> + Send;

    /// Changes the attributes that differ.
    fn update(cx: &Context, change: &Change<Self::Spec>) -> impl Future<Output = Result<()>> + Send;

    /// Who still uses a resource that AWS refuses to delete.
    fn blockers(_cx: &Context, _id: &str) -> impl Future<Output = Result<Vec<Blocker>>> + Send {
        async { Ok(Vec::new()) }
    }

    /// Deletes it. Something that isn't there is deleted.
    fn delete(cx: &Context, found: &Found<Self::Spec>) -> impl Future<Output = Result<()>> + Send;
}

/// The same without the types, for the engine.
#[async_trait::async_trait]
pub trait AnyKind: Send + Sync {
    fn name(&self) -> &'static str;
    fn traits(&self) -> Traits;
    fn effect(&self, path: &str) -> Effect;
    fn renews(&self, output: &str) -> bool;
    fn lapses(&self, id: &str) -> bool;
    /// Brings a wish into the form in which answers come, ready to be compared with the spec of what was found: sets in
    /// order, numbers alike, and without what AWS may move on by itself.
    fn canonical(&self, wish: Value, found: Option<&Value>) -> serde_json::Result<Value>;
    async fn find(&self, scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found>>;
    /// The tags of a resource that was found, where it takes a call to tell them.
    async fn tags(&self, cx: &Context, found: &Found) -> Result<Option<Tags>>;
    async fn create(&self, cx: &Context, desired: Desired<Value>) -> Result<Created>;
    async fn update(&self, cx: &Context, change: Change<Value>) -> Result<()>;
    async fn delete(&self, cx: &Context, found: Found) -> Result<()>;
    async fn blockers(&self, cx: &Context, id: &str) -> Result<Vec<Blocker>>;
}

/// A [`Kind`] as an [`AnyKind`].
pub struct Erased<K>(pub std::marker::PhantomData<fn() -> K>);

#[async_trait::async_trait]
impl<K: Kind> AnyKind for Erased<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn traits(&self) -> Traits {
        K::TRAITS
    }

    fn effect(&self, path: &str) -> Effect {
        K::effect(path)
    }

    fn renews(&self, output: &str) -> bool {
        K::renews(output)
    }

    fn lapses(&self, id: &str) -> bool {
        K::lapses(id)
    }

    fn canonical(&self, wish: Value, found: Option<&Value>) -> serde_json::Result<Value> {
        let mut wish: K::Spec = serde_json::from_value(wish)?;
        if let Some(found) = found {
            K::follow(&mut wish, &serde_json::from_value(found.clone())?);
        }
        serde_json::to_value(wish)
    }

    async fn find(&self, scan: &Scan<'_>, select: &Select<'_>) -> Result<Vec<Found>> {
        K::find(scan, select).await?.into_iter().map(untyped::<K>).collect()
    }

    async fn tags(&self, cx: &Context, found: &Found) -> Result<Option<Tags>> {
        K::tags(cx, &found.id, &found.outputs).await
    }

    async fn create(&self, cx: &Context, desired: Desired<Value>) -> Result<Created> {
        K::create(cx, &typed_desired::<K>(desired)?).await
    }

    async fn update(&self, cx: &Context, change: Change<Value>) -> Result<()> {
        let Change { found, desired, paths } = change;
        let change = Change { found: typed::<K>(found)?, desired: typed_desired::<K>(desired)?, paths };
        K::update(cx, &change).await
    }

    async fn blockers(&self, cx: &Context, id: &str) -> Result<Vec<Blocker>> {
        K::blockers(cx, id).await
    }

    async fn delete(&self, cx: &Context, found: Found) -> Result<()> {
        match K::delete(cx, &typed::<K>(found)?).await {
            Err(error) if error.is_not_found() => Ok(()),
            result => result,
        }
    }
}

fn untyped<K: Kind>(found: Found<K::Spec>) -> Result<Found> {
    let spec = serde_json::to_value(&found.spec).map_err(|error| wrong_spec::<K>(&error))?;
    Ok(found.with_spec(spec))
}

pub(super) fn typed<K: Kind>(found: Found) -> Result<Found<K::Spec>> {
    let spec = serde_json::from_value(found.spec.clone()).map_err(|error| wrong_spec::<K>(&error))?;
    Ok(found.with_spec(spec))
}

fn typed_desired<K: Kind>(desired: Desired<Value>) -> Result<Desired<K::Spec>> {
    let Desired { logical_id, spec, tags, token } = desired;
    let spec = serde_json::from_value(spec).map_err(|error| wrong_spec::<K>(&error))?;
    Ok(Desired { logical_id, spec, tags, token })
}

fn wrong_spec<K: Kind>(error: &serde_json::Error) -> crate::aws::Error {
    crate::aws::Error::unexpected("ticketctl", K::NAME, format!("a spec that doesn't fit its kind: {error}"))
}

impl<S> Found<S> {
    fn with_spec<T>(self, spec: T) -> Found<T> {
        let Found { logical_id, id, spec: _, outputs, tags, status } = self;
        Found { logical_id, id, spec, outputs, tags, status }
    }

    pub fn output(&self, name: &str) -> &str {
        self.outputs.get(name).map(String::as_str).unwrap_or_default()
    }
}
