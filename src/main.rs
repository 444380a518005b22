#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
use std::sync::Arc;
fn main() {
    tracing_subscriber::fmt().init();
    let dir = std::env::args().nth(1).unwrap_or("larder-data".into());
    let port = std::env::args().nth(2).unwrap_or("6379".into()).parse().unwrap();
    let mut o = larder::engine::Options::new(dir);
    match std::env::args().nth(3).as_deref() {
        Some("everysec") => o.fsync = larder::engine::Fsync::EverySec,
        Some("no") => o.fsync = larder::engine::Fsync::No,
        _ => {}
    }
    let engine = larder::engine::Engine::open(o).unwrap();
    let server = Arc::new(larder::command::Server::new(
        engine.clone(),
        Default::default(),
        larder::engine::clock::now_ms(),
    ));
    let rt = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    rt.block_on(async {
        let s2 = server.clone();
        tokio::spawn(async move {
            tokio::signal::ctrl_c().await.unwrap();
            s2.shutdown.raise();
        });
        larder::net::serve(
            server,
            &larder::net::Listen { bind: vec!["127.0.0.1".into()], port, unixsocket: None, backlog: 511 },
        )
        .await
        .unwrap()
    });
    engine.close().unwrap();
}
