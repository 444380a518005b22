//! What programs do with fred every day, in both protocols. tests/clients.rs restarts the server when asked to.

use std::collections::HashSet;

use fred::prelude::*;
use fred::types::RespVersion;
use fred::types::scan::Scanner;
use larder_client_tests::{BINARY_KEY, COMPARE_AND_DELETE, done, has, restart, url, url_as};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut clients = Vec::new();
    for version in [RespVersion::RESP2, RespVersion::RESP3] {
        let client = connect(&url(), version).await.unwrap();
        everyday(&client).await.unwrap();
        let subscriber = connect(&url(), RespVersion::RESP3).await.unwrap();
        if has("pubsub") {
            subscribe(&client, &subscriber).await.unwrap();
        }
        if has("acl") {
            users(&client).await.unwrap();
        }
        if has("eval") {
            scripts(&client).await.unwrap();
        }
        clients.push((client, subscriber));
    }

    // the same clients go on after a restart
    tokio::task::spawn_blocking(restart).await.unwrap();
    for (client, subscriber) in &clients {
        assert_eq!(client.get::<String, _>("key:7").await.unwrap(), r#"{"index":7}"#);
        client.quit().await.unwrap();
        subscriber.quit().await.unwrap();
    }
    done();
}

async fn connect(url: &str, version: RespVersion) -> Result<Client, Error> {
    let mut config = Config::from_url(&format!("{url}/7"))?;
    config.version = version;
    let client = Builder::from_config(config).set_policy(ReconnectPolicy::new_constant(100, 50)).build()?;
    client.init().await?;
    Ok(client)
}

async fn everyday(client: &Client) -> Result<(), Error> {
    let () = client.custom(fred::cmd!("FLUSHDB"), Vec::<String>::new()).await?;
    assert_eq!(client.ping::<String>(None).await?, "PONG");

    // JSON values and their deadlines
    let text = r#"{"id": 17, "note": "Grüße", "paid": null}"#;
    let () = client.set("order:17", text, Some(Expiration::EX(100)), None, false).await?;
    assert_eq!(client.get::<String, _>("order:17").await?, text);
    assert!((90..=100).contains(&client.ttl::<i64, _>("order:17").await?));
    let existing: Option<String> = client.set("order:17", "1", None, Some(SetOptions::NX), false).await?;
    assert_eq!(existing, None);
    assert_eq!(client.getdel::<String, _>("order:17").await?, text);
    assert_eq!(client.get::<Option<String>, _>("order:17").await?, None);

    // a key of any bytes, and a deadline in the past
    let () = client.set(BINARY_KEY, "[0]", None, None, false).await?;
    let (_, keys): (String, Vec<Key>) = client.scan_page("0", "*", Some(10), None).await?;
    assert_eq!(keys, [Key::from(BINARY_KEY)]);
    assert_eq!(client.pexpire_at::<i64, _>(BINARY_KEY, 1, None).await?, 1);
    assert_eq!(client.exists::<i64, _>(BINARY_KEY).await?, 0);

    // a pipeline and a transaction
    let pipeline = client.pipeline();
    for index in 0..1000 {
        let () = pipeline
            .set(format!("key:{index}"), format!(r#"{{"index":{index}}}"#), None, None, false)
            .await?;
    }
    assert_eq!(pipeline.all::<Vec<String>>().await?, vec!["OK"; 1000]);
    let transaction = client.multi();
    let () = transaction.set("counter", 41, None, None, false).await?;
    let () = transaction.incr("counter").await?;
    assert_eq!(transaction.exec::<(String, i64)>(true).await?, ("OK".to_owned(), 42));

    // walking
    let mut keys = HashSet::new();
    let mut pages = std::pin::pin!(client.scan("key:*", Some(100), None));
    while let Some(mut page) = futures::StreamExt::next(&mut pages).await.transpose()? {
        keys.extend(page.take_results().unwrap_or_default());
        page.next();
    }
    assert_eq!(keys.len(), 1000);

    // errors have kinds, and the connection lives on
    let () = client.set("text", r#""not a number""#, None, None, false).await?;
    let error = client.incr::<i64, _>("text").await.unwrap_err();
    assert!(error.details().contains("not an integer"), "{error}");
    let error = client.custom::<(), String>(fred::cmd!("NONSENSE"), vec![]).await.unwrap_err();
    assert!(error.details().contains("unknown command"), "{error}");
    assert_eq!(client.get::<String, _>("text").await?, r#""not a number""#);
    let refused = connect(&url_as(":wrong"), RespVersion::RESP2).await.expect_err("the password is wrong");
    assert_eq!(refused.kind(), &ErrorKind::Auth, "{refused}");
    Ok(())
}

async fn subscribe(client: &Client, subscriber: &Client) -> Result<(), Error> {
    let mut messages = subscriber.message_rx();
    let () = subscriber.subscribe("fred").await?;
    let () = subscriber.psubscribe("fred:*").await?;
    // fred doesn't wait for the confirmations; what is answered on the same connection comes after them
    let () = subscriber.ping(None).await?;
    assert_eq!(client.publish::<i64, _, _>("fred", "one").await?, 1);
    assert_eq!(client.publish::<i64, _, _>("fred:north", "two").await?, 1);
    for expected in [("fred", "one"), ("fred:north", "two")] {
        let message = messages.recv().await.expect("the subscriber is there");
        assert_eq!((&*message.channel, message.value.as_str().as_deref()), (expected.0, Some(expected.1)));
    }
    let () = subscriber.unsubscribe("fred").await?;
    let () = subscriber.punsubscribe("fred:*").await?;
    Ok(())
}

async fn users(client: &Client) -> Result<(), Error> {
    let acl =
        |words: &'static str| client.custom::<Value, &str>(fred::cmd!("ACL"), words.split(' ').collect());
    acl("SETUSER fred on >open ~shop:* +@read +@write +@connection +info").await?;
    let shop = connect(&url_as("fred:open"), RespVersion::RESP3).await?;
    let () = shop.set("shop:1", 1, None, None, false).await?;
    let error = shop.get::<String, _>("counter").await.unwrap_err();
    assert!(error.details().contains("NOPERM"), "{error}");
    shop.quit().await?;
    assert_eq!(acl("DELUSER fred").await?, Value::Integer(1));
    Ok(())
}

async fn scripts(client: &Client) -> Result<(), Error> {
    let script = fred::types::scripts::Script::from_lua(COMPARE_AND_DELETE);
    let () = client.set("job", r#""mine""#, None, None, false).await?;
    assert_eq!(script.evalsha_with_reload::<i64, _, _>(client, "job", r#""theirs""#).await?, 0);
    assert_eq!(script.evalsha_with_reload::<i64, _, _>(client, "job", r#""mine""#).await?, 1);
    Ok(())
}
