//! A service that is asked besides the logged policy: it can say no, and nothing else.

mod device;
mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use device::{Device, House, document};
use scal3::genesis::Genesis;
use scal3::instruction::{Presented, Value};
use serde_json::{Value as Json, json};
use solelog::authority::authorise::AuthoriseError;
use solelog::authority::intent::{IntentError, Who};
use solelog::authority::second_opinion::SecondOpinion;
use solelog::authority::{Authority, Settings};
use solelog::engine::Engine;
use solelog::keys::{KeyStore as _, SoftKeys};
use support::*;
use threshold::Profile1;
use tokio::net::TcpListener;

const PIN: &str = "12345";

/// All but gifts.
const POLICY: &[u8] = br#"{"version":1,"rules":[{"when":{"class":"gift"},"deny":"no gifts"}]}"#;

/// How the service answers.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Manner {
    Says(&'static str),
    Fails,
    Elsewhere,
    TooLong,
    Never,
}

/// What it was asked, and how it answers.
#[derive(Clone)]
struct Service {
    manner: Arc<Mutex<Manner>>,
    asked: Arc<Mutex<Vec<Json>>>,
}

async fn answer(State(service): State<Service>, body: Bytes) -> Response {
    service.asked.lock().unwrap().push(serde_json::from_slice(&body).expect("JSON"));
    let manner = *service.manner.lock().unwrap();
    match manner {
        Manner::Says(text) => text.into_response(),
        Manner::Fails => (StatusCode::INTERNAL_SERVER_ERROR, r#"{"decision":"proceed"}"#).into_response(),
        Manner::Elsewhere => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/yes")]).into_response(),
        Manner::TooLong => format!(r#"{{"decision":"proceed"{}}}"#, " ".repeat(5000)).into_response(),
        Manner::Never => std::future::pending().await,
    }
}

async fn serve() -> (String, Service) {
    let service =
        Service { manner: Arc::new(Mutex::new(Manner::Says(r#"{"decision":"proceed"}"#))), asked: Arc::default() };
    let yes = post(|| async { r#"{"decision":"proceed"}"# });
    let router = Router::new().route("/ask", post(answer)).route("/yes", yes).with_state(service.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let url = format!("http://{}/ask", listener.local_addr().expect("address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, service)
}

async fn house() -> (House, Authority) {
    let keys = Arc::new(SoftKeys::generate().expect("randomness"));
    let issuing_keys = vec![*keys.issuing_key().as_bytes()];
    let house = House { rig: Rig::new(), keys, settings: Settings { strangers: 1000, ..Settings::default() } };
    let genesis = Genesis { issuing_keys, policy: POLICY.to_vec(), ..genesis() };
    Engine::create(&house.rig.config(), &genesis).expect("a new folder");
    let authority = house.open().await;
    (house, authority)
}

fn blocked(answer: Result<impl Sized, IntentError>) -> &'static str {
    match answer {
        Err(IntentError::Blocked { reason, .. }) => reason,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("a challenge"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r0_03_a_second_opinion_can_deny_and_never_allow() {
    let (url, service) = serve().await;
    let (house, plain) = house().await;
    let mut person = Device::<Profile1>::enrol(&plain, PIN).await;
    person.activate(&plain, &house.rig, PIN).await;
    let opinion = SecondOpinion::new(&url, Duration::from_millis(300)).expect("an address");
    let authority = plain.clone().with_second_opinion(opinion);
    let greeting = document("greeting", "to", Value::Text("Bram".to_owned()));
    let ask = async |document| {
        let presented = Presented::of(document, |_| true).to_bytes();
        authority.intent(person.id, presented, Who::Provider).await
    };

    // What the logged policy denies it is not even asked about.
    let gift = document("gift", "to", Value::Text("Bram".to_owned()));
    assert_eq!(blocked(ask(&gift).await), "denied");
    assert!(service.asked.lock().unwrap().is_empty());

    let intent = ask(&greeting).await.expect("a challenge");
    let question = service.asked.lock().unwrap().pop().expect("a question");
    assert_eq!((&question["class"], &question["fields"]), (&"greeting".into(), &json!({ "to": "Bram" })));
    assert_eq!(question["credential"], person.id.to_hex());

    let manners = [
        Manner::Says(r#"{"decision":"deny"}"#),
        Manner::Says(r#"{"decision":"yes"}"#),
        Manner::Says(r#"{}"#),
        Manner::Says("proceed"),
        Manner::Says(""),
        Manner::Fails,
        Manner::Elsewhere,
        Manner::TooLong,
        Manner::Never,
    ];
    for manner in manners {
        *service.manner.lock().unwrap() = manner;
        assert_eq!(blocked(ask(&greeting).await), "second-opinion", "{manner:?}");
    }
    // It was logged, and nobody who reads the log takes offence.
    fold(authority.engine());

    // The challenge that was given before stands: the record is judged by the log, which knows of no service.
    let now_ms = house.rig.clock.load(std::sync::atomic::Ordering::SeqCst);
    let metadata = person.metadata(&authority, &intent, now_ms);
    let answer = person.answer(&metadata, &intent, &greeting, PIN);
    authority.authorise(metadata.challenge, answer).await.expect("authorised");
    person.logged(&authority, &metadata);

    // A server that is not there says no.
    let gone = SecondOpinion::new("http://127.0.0.1:1/ask", Duration::from_millis(300)).expect("an address");
    let alone = plain.with_second_opinion(gone);
    let presented = Presented::of(&greeting, |_| true).to_bytes();
    assert_eq!(blocked(alone.intent(person.id, presented, Who::Provider).await), "second-opinion");
    let unknown = authority.authorise(scal3::Hash([1; 32]), person.answer(&metadata, &intent, &greeting, PIN)).await;
    assert!(matches!(unknown, Err(AuthoriseError::Challenge(_))));
}
