//! The keys of a store as a tree: one level at a time, from ranges of keys (STORE TREE).

use bytes::Bytes;

use crate::http::api::keys::{Page, cursor_schema, key_schema, with_cursor, write_cursor};
use crate::http::openapi::parameter::{cursor, limit, prefix, query};
use crate::http::openapi::route::{self, Route};
use crate::http::openapi::schema::{array, boolean, count, object, text};
use crate::http::request::ask::Ask;
use crate::http::request::gate::{MissingStore, items, words};
use crate::http::response::json::{Writer, answer};
use crate::http::response::problem::Answer;
use crate::limits::KEYS_PER_QUERY;
use crate::resp::Reply;

pub fn routes() -> Vec<Route> {
    vec![
        route::get("/api/v1/stores/{store}/tree", tree)
            .named("tree", "List what is directly below a prefix")
            .about(
                "Keys, and groups of keys with the same text up to the next separator. A group is \
                 counted up to 10,000 keys; is_more says that there may be more of them.",
            )
            .parameters([
                prefix(),
                query("separator", text(), "Where the levels of a key end; a colon if it is left out"),
                cursor(),
                limit(),
            ])
            .returns(
                200,
                "A page of nodes, in order: a key, or a group with its prefix",
                object([
                    (
                        "nodes",
                        array(object([
                            ("key", key_schema().optional()),
                            ("prefix", key_schema().optional()),
                            ("keys", count().optional()),
                            ("is_more", boolean().optional()),
                        ])),
                    ),
                    ("cursor", cursor_schema()),
                ]),
            ),
    ]
}

async fn tree(ask: Ask) -> Answer {
    let params = ask.params(&["prefix", "separator", "cursor", "limit"])?;
    let store = ask.store();
    let mut page = Page::paged(&params, ask.gate.keys_per_query(&store))?;
    let part = |name| params.bytes(name).cloned();
    let prefix = part("prefix").unwrap_or_default();
    let separator = part("separator").unwrap_or_else(|| Bytes::from_static(b":"));
    // a cursor belongs to one level with one separator
    page.pattern = [&prefix[..], b"\0", &separator].concat().into();
    let (nodes, cursor) = ask
        .gate
        .read(move |talk| {
            talk.enter(&store, MissingStore::Refused)?;
            let stores = [talk.session.store];
            let start = page.start(&stores)?;
            let limit = page.limit.min(KEYS_PER_QUERY).to_string();
            let mut command =
                words([b"STORE", b"TREE", &store, b"CURSOR", &start, b"COUNT", limit.as_bytes()]);
            command.extend(words([b"PREFIX", &prefix, b"SEPARATOR", &separator]));
            let (nodes, next) = with_cursor(talk.command(command)?)?;
            Ok((nodes, next.map(|next| page.cursor(&stores, &next))))
        })
        .await?;
    let nodes = nodes.into_iter().map(items).collect::<Result<Vec<_>, _>>()?;
    let mut writer = Writer::new();
    writer.raw("{\"nodes\":[").each(&nodes, |writer, node| match &node[..] {
        [_, Reply::Bulk(group), Reply::Integer(keys), Reply::Integer(is_more)] => {
            let is_more = *is_more == 1;
            writer.raw("{\"prefix\":").key(group).raw(format!(",\"keys\":{keys},\"is_more\":{is_more}}}"));
        }
        [_, Reply::Bulk(key)] => _ = writer.raw("{\"key\":").key(key).raw("}"),
        _ => {}
    });
    writer.raw("],");
    Ok(answer(write_cursor(&mut writer, cursor.as_ref()).raw("}").finish()))
}

#[cfg(test)]
mod tests {
    use crate::http::testing::Api;

    #[test]
    fn a_level_comes_page_by_page() {
        let api = Api::new();
        for key in ["user:1", "user:2", "version", "%ff:1"] {
            api.expect(&[(&format!("PUT /api/v1/stores/0/records/{key}"), "1", 201, "")]);
        }
        api.expect(&[
            (
                "GET /api/v1/stores/0/tree",
                "",
                200,
                r#"{"nodes":[{"prefix":"user:","keys":2,"is_more":false},{"key":"version"},{"prefix":{"base64":"/zo="},"keys":1,"is_more":false}],"cursor":null}"#,
            ),
            (
                "GET /api/v1/stores/0/tree?prefix=user:",
                "",
                200,
                r#"{"nodes":[{"key":"user:1"},{"key":"user:2"}],"cursor":null}"#,
            ),
            (
                "GET /api/v1/stores/0/tree?prefix=%ff&separator=1",
                "",
                200,
                r#"{"nodes":[{"prefix":{"base64":"/zox"},"keys":1,"is_more":false}],"cursor":null}"#,
            ),
            ("GET /api/v1/stores/0/tree?separator=", "", 400, ""),
            ("GET /api/v1/stores/0/tree?limit=0", "", 400, ""),
            ("GET /api/v1/stores/0/tree?cursor=x", "", 400, ""),
            ("GET /api/v1/stores/none/tree", "", 404, ""),
        ]);
    }

    #[tokio::test]
    async fn a_cursor_belongs_to_its_level() {
        let api = Api::new();
        for key in ["a:1", "b:1", "c"] {
            api.run(&format!("PUT /api/v1/stores/0/records/{key}"), "1").await;
        }
        let page = api.run("GET /api/v1/stores/0/tree?limit=1", "").await.json();
        assert_eq!(page["nodes"][0]["prefix"], "a:");
        let cursor = page["cursor"].as_str().unwrap_or_default();
        let next = api.run(&format!("GET /api/v1/stores/0/tree?limit=5&cursor={cursor}"), "").await.json();
        assert_eq!((&next["nodes"][0]["prefix"], &next["nodes"][1]["key"]), (&"b:".into(), &"c".into()));
        assert!(next["cursor"].is_null());
        for other in ["0/tree?prefix=a:", "0/tree?separator=/", "1/tree?"] {
            let told = api.run(&format!("GET /api/v1/stores/{other}&cursor={cursor}"), "").await;
            assert_eq!(told.status, 400, "{other}");
        }
    }
}
