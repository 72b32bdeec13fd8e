//! Sign-up, login, refresh, logout, roles.

use crate::support::{App, User};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use ticketing::accounts::identities::{Identity, account_of};
use ticketing::accounts::{self, Role};

#[tokio::test]
async fn from_signup_to_logout() {
    let app = App::start().await;
    let account = json!({"email": "Kim@Example.com", "password": "correct horse", "name": "Kim"});
    let user = app.post("/api/auth/signup", None, account.clone()).await.expect(201);
    assert_eq!((user["email"].as_str(), user["role"].as_str()), (Some("kim@example.com"), Some("USER")));
    app.post("/api/auth/signup", None, account).await.problem(409, "email_taken");

    let login = |password: &str| json!({"email": "kim@example.com", "password": password});
    app.post("/api/auth/login", None, login("wrong")).await.problem(401, "bad_credentials");
    let session = app.post("/api/auth/login", None, login("correct horse")).await.expect(200);
    assert_eq!(session["expiresIn"], 1800);
    assert_eq!(session["user"]["userId"], user["userId"]);
    let me = crate::support::User {
        id: user["userId"].as_str().expect("an id").into(),
        token: session["accessToken"].as_str().expect("a token").into(),
    };
    assert_eq!(app.get("/api/auth/me", Some(&me)).await.expect(200)["name"], "Kim");

    let token = json!({"refreshToken": session["refreshToken"]});
    let second = app.post("/api/auth/refresh", None, token).await.expect(200);
    let token = json!({"refreshToken": second["refreshToken"]});
    app.post("/api/auth/logout", None, token.clone()).await.expect(204);
    app.post("/api/auth/refresh", None, token).await.problem(401, "bad_refresh_token");
}

#[tokio::test]
async fn addresses_that_differ_in_an_accent_are_two() {
    let app = App::start().await;
    let account = |email: &str| json!({"email": email, "password": "correct horse", "name": "José"});
    let one = app.post("/api/auth/signup", None, account("jose@example.com")).await.expect(201);
    app.post("/api/auth/login", None, account("José@example.com")).await.problem(401, "bad_credentials");
    let other = app.post("/api/auth/signup", None, account("JOSÉ@example.com")).await.expect(201);
    assert_ne!(one["userId"], other["userId"]);
    app.post("/api/auth/signup", None, account("Jose@Example.com")).await.problem(409, "email_taken");
    for (email, user) in [("Jose@example.com", one), ("José@example.com", other)] {
        let session = app.post("/api/auth/login", None, account(email)).await.expect(200);
        assert_eq!(session["user"]["userId"], user["userId"]);
    }
}

async fn session_of_kim(app: &App) -> Value {
    accounts::create(&app.db, "kim@example.com", "correct horse", "Kim", Role::User).await.expect("created");
    let body = json!({"email": "kim@example.com", "password": "correct horse"});
    app.post("/api/auth/login", None, body).await.expect(200)
}

fn token(session: &Value) -> Value {
    json!({"refreshToken": session["refreshToken"]})
}

#[tokio::test]
async fn a_refresh_token_used_twice_ends_the_session() {
    let app = App::start().await;
    let first = session_of_kim(&app).await;
    let second = app.post("/api/auth/refresh", None, token(&first)).await.expect(200);
    let third = app.post("/api/auth/refresh", None, token(&second)).await.expect(200);
    app.post("/api/auth/refresh", None, token(&first)).await.problem(401, "refresh_token_reused");
    // The thief's or the owner's: the newer one is worth nothing any more either.
    app.post("/api/auth/refresh", None, token(&third)).await.problem(401, "bad_refresh_token");
}

#[tokio::test]
async fn a_refresh_whose_answer_was_lost_may_be_repeated_for_a_while() {
    let app = App::start().await;
    let first = session_of_kim(&app).await;
    app.post("/api/auth/refresh", None, token(&first)).await.expect(200);
    app.post("/api/auth/refresh", None, token(&first)).await.expect(200);
    let second = app.post("/api/auth/refresh", None, token(&first)).await.expect(200);
    let third = app.post("/api/auth/refresh", None, token(&second)).await.expect(200);
    // As if it had been a quarter of a minute ago.
    let family = second["refreshToken"].as_str().and_then(|token| token.split_once('.')).expect("a token").0;
    let earlier = time::OffsetDateTime::now_utc().unix_timestamp() - 15;
    let command = redis::Cmd::hset(format!("session:{family}"), "used_at", earlier);
    app.state.kv.run::<()>(&command).await.expect("set");
    app.post("/api/auth/refresh", None, token(&second)).await.problem(401, "refresh_token_reused");
    app.post("/api/auth/refresh", None, token(&third)).await.problem(401, "bad_refresh_token");
}

#[tokio::test]
async fn passwords_cannot_be_tried_out_not_even_at_the_same_time() {
    let app = App::start().await;
    let other = app.another().await;
    // Nine times somebody was wrong; the hash of the tenth guess takes long enough for others to come meanwhile.
    for n in 0..9 {
        let app = if n % 2 == 0 { &app } else { &other };
        app.state.logins.guess("kim@example.com").await.expect("few so far");
    }
    let guesses = join_all([&app, &other, &app, &other].map(|app| {
        let login = json!({"email": "kim@example.com", "password": "wrong"});
        app.post("/api/auth/login", None, login)
    }))
    .await;
    let mut statuses: Vec<u16> = guesses.iter().map(|guess| guess.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [401, 429, 429, 429]);
    // Nobody has such an address, however often it is tried.
    let long = json!({"email": format!("{}@example.com", "k".repeat(250)), "password": "wrong"});
    for _ in 0..12 {
        app.post("/api/auth/login", None, long.clone()).await.problem(401, "bad_credentials");
    }
}

#[tokio::test]
async fn who_becomes_an_administrator_shares_the_account_with_nobody() {
    let app = App::start().await;
    let account = json!({"email": "boss@example.com", "password": "a squatter's", "name": "Squatter"});
    let squatter = app.post("/api/auth/signup", None, account.clone()).await.expect(201);
    let session = app.post("/api/auth/login", None, account.clone()).await.expect(200);
    let made =
        accounts::upsert(&app.db, "boss@example.com", "the boss's own", "Boss", Role::Admin).await.expect("made");
    assert_eq!(Some(made.user_id.as_str()), squatter["userId"].as_str());
    let token = json!({"refreshToken": session["refreshToken"]});
    app.post("/api/auth/refresh", None, token).await.problem(401, "bad_refresh_token");
    app.post("/api/auth/login", None, account).await.problem(401, "bad_credentials");
    let own = json!({"email": "boss@example.com", "password": "the boss's own"});
    let session = app.post("/api/auth/login", None, own).await.expect(200);
    let token = json!({"refreshToken": session["refreshToken"]});
    assert_eq!(app.post("/api/auth/refresh", None, token).await.expect(200)["user"]["role"], "ADMIN");
}

fn at_provider(subject: &str, email: &str) -> Identity {
    let (subject, verified_email) = (subject.to_owned(), Some(email.to_owned()));
    Identity { issuer: "https://provider.example".into(), subject, verified_email, name: "Owner".into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_is_under_way_when_the_owner_comes_ends_as_well() {
    let app = App::start().await;
    let mut raced = 0;
    for n in 0..20 {
        let email = format!("lee-{n}@example.com");
        let squatter = json!({"email": email, "password": "a squatter's", "name": "Squatter"});
        app.post("/api/auth/signup", None, squatter.clone()).await.expect(201);
        let login = async { (app.post("/api/auth/login", None, squatter).await, Instant::now()) };
        let owner = async {
            // The right password is looked up soon, and takes longer to be found right.
            tokio::time::sleep(Duration::from_millis(3 + n)).await;
            account_of(&app.db, &at_provider(&email, &email)).await.expect("the owner's");
            Instant::now()
        };
        let ((login, logged_in), taken_over) = tokio::join!(login, owner);
        if login.status.as_u16() == 200 {
            raced += u32::from(logged_in > taken_over);
            app.post("/api/auth/refresh", None, token(&login.body)).await.problem(401, "bad_refresh_token");
        }
    }
    assert!(raced > 0, "no login was under way");
}

#[tokio::test]
async fn whoever_had_the_account_before_its_owner_is_told_nothing_any_more() {
    let app = App::start().await;
    let squatter = json!({"email": "lee@example.com", "password": "a squatter's", "name": "Squatter"});
    app.post("/api/auth/signup", None, squatter.clone()).await.expect(201);
    let session = app.post("/api/auth/login", None, squatter).await.expect(200);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let squatter = User { id: text(&session["user"]["userId"]), token: text(&session["accessToken"]) };
    let register =
        async |user, token| app.post("/api/notifications/devices", Some(user), json!({"deviceToken": token})).await;
    register(&squatter, "squatters").await.expect(204);
    let owner = account_of(&app.db, &at_provider("lee", "lee@example.com")).await.expect("the owner's");
    assert_eq!(owner.user_id, squatter.id);
    let devices = async || -> Vec<String> {
        sqlx::query_scalar("SELECT token FROM devices ORDER BY token").fetch_all(&app.db).await.expect("read")
    };
    assert_eq!(devices().await, [""; 0]);
    // The access token is good for half an hour, but not to listen for longer than that.
    app.get("/api/auth/me", Some(&squatter)).await.expect(200);
    register(&squatter, "squatters").await.problem(401, "bad_token");
    let owner = User { token: app.state.tokens.access(&owner).expect("a token"), id: owner.user_id };
    register(&owner, "owners").await.expect(204);
    assert_eq!(devices().await, ["owners"]);
}

#[tokio::test]
async fn who_is_given_an_address_that_was_somebody_elses_does_not_get_the_account() {
    let app = App::start().await;
    let lee = account_of(&app.db, &at_provider("lee", "lee@example.com")).await.expect("an account");
    let refused = account_of(&app.db, &at_provider("another lee", "lee@example.com")).await.expect_err("refused");
    assert_eq!(refused.code, "oidc_taken");
    let again = account_of(&app.db, &at_provider("lee", "lee@example.com")).await.expect("the same");
    assert_eq!(again.user_id, lee.user_id);
    // Another provider vouches for the address as well.
    let elsewhere = Identity { issuer: "https://another.example".into(), ..at_provider("7", "lee@example.com") };
    assert_eq!(account_of(&app.db, &elsewhere).await.expect("the same").user_id, lee.user_id);
    // Once by each of two logins at the same time.
    let kim = at_provider("kim", "kim@example.com");
    let both = join_all([account_of(&app.db, &kim), account_of(&app.db, &kim)]).await;
    let ids: Vec<_> = both.into_iter().map(|user| user.expect("an account").user_id).collect();
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn bad_input_is_named() {
    let app = App::start().await;
    let signup = |email: &str, password: &str, name: &str| json!({"email": email, "password": password, "name": name});
    app.post("/api/auth/signup", None, signup("kim", "correct horse", "Kim")).await.problem(422, "bad_email");
    app.post("/api/auth/signup", None, signup("kim@example.com", "short", "Kim")).await.problem(422, "bad_password");
    app.post("/api/auth/signup", None, signup("kim@example.com", "correct horse", " ")).await.problem(422, "bad_name");
    app.post("/api/auth/signup", None, json!({"email": 1})).await.problem(422, "invalid_body");
    app.get("/api/auth/me", None).await.problem(401, "login_needed");
    let nobody = crate::support::User { id: String::new(), token: "x".into() };
    app.get("/api/auth/me", Some(&nobody)).await.problem(401, "bad_token");
}

#[tokio::test]
async fn roles_are_checked() {
    let app = App::start().await;
    let event = json!({"eventName": "Concert", "totalSeats": 10, "eventDate": "2999-01-01T00:00:00Z"});
    app.post("/api/events", None, event.clone()).await.problem(401, "login_needed");
    for role in [Role::User, Role::Staff] {
        let user = app.user(role).await;
        app.post("/api/events", Some(&user), event.clone()).await.problem(403, "admin_only");
    }
    let admin = app.user(Role::Admin).await;
    app.post("/api/events", Some(&admin), event).await.expect(201);
}
