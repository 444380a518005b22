//! What programs do with redis-rs every day: its blocking connections in both protocols, and the connection manager,
//! which is its way over a restart. tests/clients.rs restarts the server when asked to.

use larder_client_tests::{BINARY_KEY, COMPARE_AND_DELETE, done, has, restart, url, url_as};
use redis::aio::ConnectionManager;
use redis::{
    AsyncCommands, Client, Commands, Connection, ErrorKind, RedisResult, ServerErrorKind, SetOptions,
};

fn main() {
    for protocol in ["2", "3"] {
        let client = Client::open(format!("{}/6?protocol=resp{protocol}", url())).unwrap();
        let mut connection = client.get_connection().unwrap();
        everyday(&client, &mut connection).unwrap();
        if has("pubsub") && protocol == "2" {
            subscribe(&client, &mut connection).unwrap();
        }
        if has("acl") {
            users(&mut connection).unwrap();
        }
        if has("eval") {
            scripts(&mut connection).unwrap();
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(managed()).unwrap();
    done();
}

fn everyday(client: &Client, connection: &mut Connection) -> RedisResult<()> {
    let () = redis::cmd("FLUSHDB").query(connection)?;

    // JSON values and their deadlines
    let text = r#"{"id": 17, "note": "Grüße", "paid": null}"#;
    let () = connection.set_ex("order:17", text, 100)?;
    assert_eq!(connection.get::<_, String>("order:17")?, text);
    assert!((90..=100).contains(&connection.ttl::<_, i64>("order:17")?));
    let only_new = SetOptions::default().conditional_set(redis::ExistenceCheck::NX);
    assert_eq!(connection.set_options::<_, _, Option<String>>("order:17", "1", only_new)?, None);
    assert_eq!(connection.get_del::<_, Option<String>>("order:17")?.as_deref(), Some(text));
    assert_eq!(connection.get::<_, Option<String>>("order:17")?, None);

    // a key of any bytes, and a deadline in the past
    let () = connection.set(BINARY_KEY, "[0]")?;
    assert_eq!(connection.keys::<_, Vec<Vec<u8>>>("*")?, [BINARY_KEY]);
    assert!(connection.pexpire_at::<_, bool>(BINARY_KEY, 1)?);
    assert!(!connection.exists::<_, bool>(BINARY_KEY)?);

    // a pipeline, a transaction, and one that another client gets in the way of
    let mut pipeline = redis::pipe();
    for index in 0..1000 {
        pipeline.set(format!("key:{index}"), format!(r#"{{"index":{index}}}"#)).ignore();
    }
    let () = pipeline.query(connection)?;
    let replies: (i64, String) = redis::pipe()
        .atomic()
        .set("counter", 41)
        .ignore()
        .incr("counter", 1)
        .get("counter")
        .query(connection)?;
    assert_eq!(replies, (42, "42".to_owned()));
    let mut other = client.get_connection()?;
    let mut attempts = 0;
    let (changed,): (i64,) = redis::transaction(connection, &["counter"], |connection, transaction| {
        attempts += 1;
        if attempts == 1 {
            let () = other.set("counter", 5)?;
        }
        let found: i64 = connection.get("counter")?;
        transaction.set("counter", found + 1).ignore().get("counter").query(connection)
    })?;
    assert_eq!((attempts, changed), (2, 6));

    // walking
    let mut keys: Vec<String> = connection.scan_match("key:*")?.collect::<RedisResult<_>>()?;
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 1000);

    // errors have kinds, and the connection lives on
    let () = connection.set("text", r#""not a number""#)?;
    let error = connection.incr::<_, _, i64>("text", 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server(ServerErrorKind::ResponseError), "{error}");
    assert!(error.to_string().contains("not an integer"), "{error}");
    let error = redis::cmd("NONSENSE").query::<()>(connection).unwrap_err();
    assert!(error.to_string().contains("unknown command"), "{error}");
    assert_eq!(connection.get::<_, String>("text")?, r#""not a number""#);
    let refused = Client::open(url_as(":wrong"))?.get_connection().err().expect("the password is wrong");
    assert_eq!(refused.kind(), ErrorKind::AuthenticationFailed, "{refused}");
    Ok(())
}

fn subscribe(client: &Client, connection: &mut Connection) -> RedisResult<()> {
    let mut other = client.get_connection()?;
    let mut subscriber = other.as_pubsub();
    subscriber.subscribe("rust")?;
    subscriber.psubscribe("rust:*")?;
    assert_eq!(connection.publish::<_, _, i64>("rust", "one")?, 1);
    assert_eq!(connection.publish::<_, _, i64>("rust:north", "two")?, 1);
    let message = subscriber.get_message()?;
    assert_eq!((message.get_channel_name(), message.get_payload_bytes()), ("rust", &b"one"[..]));
    let message = subscriber.get_message()?;
    assert_eq!(
        (message.get_pattern::<String>()?, message.get_payload_bytes()),
        ("rust:*".to_owned(), &b"two"[..])
    );
    Ok(())
}

fn users(connection: &mut Connection) -> RedisResult<()> {
    let rules = ["on", ">open", "~shop:*", "+@read", "+@write", "+@connection"];
    let () = redis::cmd("ACL").arg("SETUSER").arg("rust").arg(&rules).query(connection)?;
    let mut shop = Client::open(format!("{}/6", url_as("rust:open")))?.get_connection()?;
    let () = shop.set("shop:1", 1)?;
    let error = shop.get::<_, String>("counter").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server(ServerErrorKind::NoPerm), "{error}");
    assert_eq!(redis::cmd("ACL").arg("DELUSER").arg("rust").query::<i64>(connection)?, 1);
    Ok(())
}

fn scripts(connection: &mut Connection) -> RedisResult<()> {
    let compare_and_delete = redis::Script::new(COMPARE_AND_DELETE);
    let () = connection.set("job", r#""mine""#)?;
    assert_eq!(compare_and_delete.key("job").arg(r#""theirs""#).invoke::<i64>(connection)?, 0);
    assert_eq!(compare_and_delete.key("job").arg(r#""mine""#).invoke::<i64>(connection)?, 1);
    Ok(())
}

/// A connection that comes back by itself, with its subscriptions.
async fn managed() -> RedisResult<()> {
    let client = Client::open(format!("{}/6?protocol=resp3", url()))?;
    let (sender, mut pushes) = tokio::sync::broadcast::channel(16);
    let config =
        redis::aio::ConnectionManagerConfig::new().set_push_sender(sender).set_automatic_resubscription();
    let mut manager = ConnectionManager::new_with_config(client, config).await?;
    let () = manager.set("managed", 1).await?;
    if has("pubsub") {
        manager.subscribe("managed").await?;
    }
    restart();
    // the first command finds out that the connection is gone
    while let Err(error) = manager.get::<_, i64>("managed").await {
        assert!(error.is_connection_dropped() || error.is_io_error(), "{error}");
    }
    assert_eq!(manager.get::<_, i64>("managed").await?, 1);
    assert_eq!(manager.get::<_, String>("key:7").await?, r#"{"index":7}"#);
    if has("pubsub") {
        while manager.publish::<_, _, i64>("managed", "back").await? == 0 {}
        while let Ok(push) = pushes.recv().await {
            if push.kind == redis::PushKind::Message {
                assert_eq!(push.data, ["managed", "back"].map(|text| redis::Value::BulkString(text.into())));
                return Ok(());
            }
        }
        panic!("the message did not arrive");
    }
    Ok(())
}
