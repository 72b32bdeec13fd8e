//! What must be true of every kind, whichever it is.

use serde_json::Value;
use std::time::{Duration, Instant};
use ticketctl::{
    aws::{Context, Result, Tags},
    engine::compare,
    resource::{AnyKind, Change, Created, Desired, Found, Kind, Scan, Select, Status, by_name},
};

/// Lives a resource's whole life: made and found exactly as wished, made once more without becoming two, changed to each
/// of `changes` in turn, tagged anew, deleted.
pub async fn lifecycle<K: Kind>(cx: &Context, logical_id: &str, wish: K::Spec, changes: Vec<K::Spec>) {
    let created = create::<K>(cx, logical_id, wish).await;
    for (number, change) in changes.into_iter().enumerate() {
        let found = only::<K>(cx, logical_id).await;
        let desired = desired::<K>(cx, logical_id, &change);
        let paths = differences::<K>(&desired.spec, &found);
        assert!(!paths.is_empty(), "change {number} of {logical_id} changes nothing");
        update::<K>(cx, found, desired, paths).await;
        let found = ready::<K>(cx, &created.id).await;
        assert_same::<K>(&to_value::<K>(&change), &found);
    }
    retag::<K>(cx, logical_id).await;
    delete::<K>(cx, logical_id).await;
}

/// Makes a resource and checks that AWS has exactly what was wished.
pub async fn create<K: Kind>(cx: &Context, logical_id: &str, wish: K::Spec) -> Created {
    assert!(all::<K>(cx).await.iter().all(|found| found.logical_id != logical_id), "{logical_id} is there already");
    let wish = desired::<K>(cx, logical_id, &wish);
    let created = kind::<K>().create(cx, wish.clone()).await.unwrap_or_else(|error| panic!("create: {error}"));
    let found = ready::<K>(cx, &created.id).await;
    assert_eq!(found.logical_id, logical_id);
    assert_same::<K>(&wish.spec, &found);
    if let Some(tags) = &found.tags {
        let missing: Vec<_> = wish.tags.iter().filter(|(key, value)| tags.get(*key) != Some(value)).collect();
        assert!(missing.is_empty(), "the create call didn't set these tags: {missing:?}");
    }
    for (output, value) in &created.outputs {
        assert_eq!(found.outputs.get(output), Some(value), "create and find tell different values of {output}");
    }
    assert_eq!(
        only::<K>(cx, logical_id).await.id,
        created.id,
        "the listing names another resource than the create call"
    );
    created
}

/// Only the create call, whatever comes of it.
pub async fn try_create<K: Kind>(cx: &Context, logical_id: &str, wish: K::Spec) -> Result<Created> {
    kind::<K>().create(cx, desired::<K>(cx, logical_id, &wish)).await
}

/// Repeats the create call, as after a lost answer, and checks that there is still one resource.
pub async fn create_again<K: Kind>(cx: &Context, logical_id: &str, wish: K::Spec, first: &Created) {
    let again = kind::<K>().create(cx, desired::<K>(cx, logical_id, &wish)).await;
    let again = again.unwrap_or_else(|error| panic!("the repeated create call: {error}"));
    assert_eq!(again.id, first.id, "the repeated create call made another resource");
    only::<K>(cx, logical_id).await;
}

/// Deletes the resource and checks that it is gone, and that deleting it again is no error.
pub async fn delete<K: Kind>(cx: &Context, logical_id: &str) {
    let found = only::<K>(cx, logical_id).await;
    for _ in 0..2 {
        kind::<K>().delete(cx, found.clone()).await.unwrap_or_else(|error| panic!("delete: {error}"));
        let begun = Instant::now();
        while !gone::<K>(cx, &found.id).await {
            assert!(begun.elapsed() < Duration::from_secs(30), "{} is still there after its deletion", found.id);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let left = all::<K>(cx).await;
    assert!(left.iter().all(|found| found.logical_id != logical_id), "the listing still shows {logical_id}");
}

/// The one resource with this logical id.
pub async fn only<K: Kind>(cx: &Context, logical_id: &str) -> Found {
    let mut found = all::<K>(cx).await;
    found.retain(|found| found.logical_id == logical_id);
    assert_eq!(found.len(), 1, "not exactly one {logical_id}: {found:?}");
    found.remove(0)
}

/// Everything of this kind that the stack has.
pub async fn all<K: Kind>(cx: &Context) -> Vec<Found> {
    let found = Scan::new(cx).find(kind::<K>(), &Select::Stack).await;
    let mut found = found.unwrap_or_else(|error| panic!("find: {error}"));
    found.retain(|found| found.status != Status::Deleting);
    found
}

fn kind<K: Kind>() -> &'static dyn AnyKind {
    by_name(K::NAME).unwrap_or_else(|| panic!("{} isn't registered", K::NAME))
}

fn to_value<K: Kind>(spec: &K::Spec) -> Value {
    serde_json::to_value(spec).expect("specs are plain data")
}

fn tags(cx: &Context, logical_id: &str) -> Tags {
    let pairs =
        [("ticketctl:stack", &*cx.stack), ("ticketctl:id", logical_id), ("Name", logical_id), ("Team", "x & y")];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn desired<K: Kind>(cx: &Context, logical_id: &str, spec: &K::Spec) -> Desired<Value> {
    Desired {
        logical_id: logical_id.into(),
        spec: to_value::<K>(spec),
        tags: tags(cx, logical_id),
        token: format!("0123456789abcdef0123456789abcdef-{logical_id}"),
    }
}

/// The paths that differ, compared as the engine does.
fn differences<K: Kind>(wish: &Value, found: &Found) -> Vec<String> {
    let wish = kind::<K>().canonical(wish.clone(), Some(&found.spec)).expect("a wish fits its own kind");
    compare(kind::<K>(), &wish, &found.spec).into_iter().map(|attribute| attribute.path).collect()
}

fn assert_same<K: Kind>(wish: &Value, found: &Found) {
    let paths = differences::<K>(wish, found);
    assert!(paths.is_empty(), "{paths:?} differ:\nwished {wish:#}\nfound  {:#}", found.spec);
}

async fn update<K: Kind>(cx: &Context, found: Found, desired: Desired<Value>, paths: Vec<String>) {
    let what = paths.join(", ");
    let result = kind::<K>().update(cx, Change { found, desired, paths }).await;
    result.unwrap_or_else(|error| panic!("update of {what}: {error}"));
}

/// What AWS gives no tags to.
const TAGLESS: [&str; 2] = ["scaling_policy", "subscription"];

/// Changes a tag.
async fn retag<K: Kind>(cx: &Context, logical_id: &str) {
    let found = only::<K>(cx, logical_id).await;
    if found.tags.is_none() {
        return assert!(TAGLESS.contains(&K::NAME), "{logical_id} has no tags");
    }
    let spec = found.spec.clone();
    let mut desired =
        Desired { logical_id: logical_id.into(), spec, tags: tags(cx, logical_id), token: "again".into() };
    desired.tags.insert("Team".into(), "y".into());
    update::<K>(cx, found, desired, vec!["tags.Team".into()]).await;
    let tags = only::<K>(cx, logical_id).await.tags.unwrap_or_default();
    assert_eq!(tags.get("Team").map(String::as_str), Some("y"), "the changed tag");
}

async fn one<K: Kind>(cx: &Context, id: &str) -> Option<Found> {
    match Scan::new(cx).find(kind::<K>(), &Select::One(id)).await {
        Ok(mut found) => {
            assert!(found.len() <= 1, "asked for {id}, got several: {found:?}");
            found.pop()
        }
        Err(error) if error.is_not_found() => None,
        Err(error) => panic!("find {id}: {error}"),
    }
}

async fn gone<K: Kind>(cx: &Context, id: &str) -> bool {
    one::<K>(cx, id).await.is_none_or(|found| found.status == Status::Deleting)
}

async fn ready<K: Kind>(cx: &Context, id: &str) -> Found {
    let begun = Instant::now();
    loop {
        match one::<K>(cx, id).await {
            Some(found) if found.status == Status::Ready => return found,
            other => assert!(begun.elapsed() < Duration::from_secs(30), "{id} isn't ready after 30 s: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
