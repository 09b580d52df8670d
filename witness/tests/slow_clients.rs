//! Slow clients are cut off. The clock is tokio's paused one: it jumps to the next deadline as
//! soon as nobody has anything to do, so nothing here waits.

use std::sync::Arc;

use tlog::key::KeyName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use witness::{Witness, set_up};

/// Says `start` to a witness, then nothing more, and returns what it answers before it hangs up.
async fn answer_to(start: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    set_up(dir.path(), Some(&KeyName::new("w").unwrap()), None, &[]).unwrap();
    let witness = Arc::new(Witness::open(dir.path()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(witness::serve(witness, listener, std::future::pending()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(start.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    serving.abort();
    answer
}

#[tokio::test(start_paused = true)]
async fn half_a_head_is_hung_up_on() {
    for start in ["", "PO", "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\n"] {
        let answer = answer_to(start).await;
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_body_is_told_that_it_took_too_long() {
    let start = "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\nold 3\n";
    let answer = answer_to(start).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}
