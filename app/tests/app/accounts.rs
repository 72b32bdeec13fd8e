//! Sign-up, login, refresh, logout, roles.

use crate::support::App;
use serde_json::json;
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

#[tokio::test]
async fn a_refresh_token_used_twice_ends_the_session() {
    let app = App::start().await;
    accounts::create(&app.db, "kim@example.com", "correct horse", "Kim", Role::User).await.expect("created");
    let body = json!({"email": "kim@example.com", "password": "correct horse"});
    let first = app.post("/api/auth/login", None, body).await.expect(200);
    let token = json!({"refreshToken": first["refreshToken"]});
    let second = app.post("/api/auth/refresh", None, token.clone()).await.expect(200);
    app.post("/api/auth/refresh", None, token).await.problem(401, "refresh_token_reused");
    // The thief's or the owner's: the newer one is worth nothing any more either.
    let token = json!({"refreshToken": second["refreshToken"]});
    app.post("/api/auth/refresh", None, token).await.problem(401, "bad_refresh_token");
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
