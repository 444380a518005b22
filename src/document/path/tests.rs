//! The examples of RFC 9535, the legacy dialect, and what is refused. The RFC's compliance suite runs in
//! tests/jsonpath.rs.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::document::scan;

const BOOKSTORE: &str = r#"{ "store": {
    "book": [
      { "category": "reference", "author": "Nigel Rees", "title": "Sayings of the Century", "price": 8.95 },
      { "category": "fiction", "author": "Evelyn Waugh", "title": "Sword of Honour", "price": 12.99 },
      { "category": "fiction", "author": "Herman Melville", "title": "Moby Dick", "isbn": "0-553-21311-3", "price": 8.99 },
      { "category": "fiction", "author": "J. R. R. Tolkien", "title": "The Lord of the Rings", "isbn": "0-395-19395-8", "price": 22.99 }
    ],
    "bicycle": { "color": "red", "price": 399 }
  } }"#;

fn find(path: &str, text: &str) -> Vec<String> {
    let nodes = Path::parse(path).unwrap().select(text.as_bytes(), &mut Work::on(text.len())).unwrap();
    nodes.iter().map(|node| text[node.start..scan::end(text.as_bytes(), node.start)].to_owned()).collect()
}

#[track_caller]
fn assert_finds(text: &str, cases: &[(&str, &[&str])]) {
    for (path, expected) in cases {
        assert_eq!(find(path, text), *expected, "{path}");
    }
}

#[test]
fn the_bookstore_of_the_rfc() {
    let authors: &[&str] =
        &["\"Nigel Rees\"", "\"Evelyn Waugh\"", "\"Herman Melville\"", "\"J. R. R. Tolkien\""];
    let titles: &[&str] =
        &["\"Sayings of the Century\"", "\"Sword of Honour\"", "\"Moby Dick\"", "\"The Lord of the Rings\""];
    assert_finds(
        BOOKSTORE,
        &[
            ("$.store.book[*].author", authors),
            ("$..author", authors),
            ("$.store..price", &["8.95", "12.99", "8.99", "22.99", "399"]),
            ("$..book[2].title", &titles[2..3]),
            ("$..book[-1].title", &titles[3..]),
            ("$..book[0,1].title", &titles[..2]),
            ("$..book[:2].title", &titles[..2]),
            ("$..book[?@.isbn].title", &titles[2..]),
            ("$..book[?(@.price<10)].title", &["\"Sayings of the Century\"", "\"Moby Dick\""]),
            ("$..book[?@.price > $.store.bicycle.price]", &[]),
            ("$..book[?@.title =~ \"(?i)lord\"].price", &["22.99"]),
            ("$..book[?@.category in [\"reference\", 1]].price", &["8.95"]),
            ("$..book[?@.category nin [\"reference\"]].price", &["12.99", "8.99", "22.99"]),
        ],
    );
    assert_eq!(find("$.store.*", BOOKSTORE).len(), 2);
    assert_eq!(find("$..*", BOOKSTORE).len(), 27);
}

#[test]
fn the_filters_of_the_rfc() {
    let text = r#"{"a":[3,5,1,2,4,6,{"b":"j"},{"b":"k"},{"b":{}},{"b":"kilo"}],"o":{"p":1,"q":2,"r":3,"s":5,"t":{"u":6}},"e":"f"}"#;
    assert_finds(
        text,
        &[
            ("$.a[?@.b == 'kilo']", &[r#"{"b":"kilo"}"#]),
            ("$.a[?(@.b == 'kilo')]", &[r#"{"b":"kilo"}"#]),
            ("$.a[?@>3.5]", &["5", "4", "6"]),
            ("$.a[?@.b]", &[r#"{"b":"j"}"#, r#"{"b":"k"}"#, r#"{"b":{}}"#, r#"{"b":"kilo"}"#]),
            ("$.o[?@<3, ?@<3]", &["1", "2", "1", "2"]),
            ("$.a[?@<2 || @.b == \"k\"]", &["1", r#"{"b":"k"}"#]),
            ("$.a[?match(@.b, \"[jk]\")]", &[r#"{"b":"j"}"#, r#"{"b":"k"}"#]),
            ("$.a[?search(@.b, \"[jk]\")]", &[r#"{"b":"j"}"#, r#"{"b":"k"}"#, r#"{"b":"kilo"}"#]),
            ("$.o[?@>1 && @<4]", &["2", "3"]),
            ("$.o[?@.u || @.x]", &[r#"{"u":6}"#]),
            ("$.a[?@.b == $.x]", &["3", "5", "1", "2", "4", "6"]),
            ("$.a[?!@.b]", &["3", "5", "1", "2", "4", "6"]),
            ("$[?length(@)==5].p", &["1"]),
            ("$[?count(@.*)==5].s", &["5"]),
            ("$[?value(@..u)==6].q", &["2"]),
        ],
    );
    assert_eq!(find("$[?@.*]", text).len(), 2);
    assert_eq!(find("$.a[?@ == @]", text).len(), 10);
}

#[test]
fn comparisons_of_the_rfc() {
    let text = r#"{"obj":{"x":"y"},"arr":[2,3]}"#;
    for (comparison, holds) in [
        ("$.absent1 == $.absent2", true),
        ("$.absent1 <= $.absent2", true),
        ("$.absent == 'g'", false),
        ("$.absent1 != $.absent2", false),
        ("$.absent != 'g'", true),
        ("1 <= 2", true),
        ("1 > 2", false),
        ("13 == '13'", false),
        ("'a' <= 'b'", true),
        ("'a' > 'b'", false),
        ("$.obj == $.arr", false),
        ("$.obj != $.arr", true),
        ("$.obj == $.obj", true),
        ("$.arr == $.arr", true),
        ("$.obj == 17", false),
        ("$.obj <= $.arr", false),
        ("$.obj < $.arr", false),
        ("$.obj <= $.obj", true),
        ("1 <= $.arr", false),
        ("$.arr >= $.arr", true),
        ("$.arr != $.arr", false),
        ("true <= true", true),
        ("true > true", false),
    ] {
        assert_eq!(find(&format!("$[?{comparison}]"), text).len(), if holds { 2 } else { 0 }, "{comparison}");
    }
}

#[test]
fn descendants_come_in_the_order_of_the_rfc() {
    let text = r#"{"o":{"j":1,"k":2},"a":[5,3,[{"j":4},{"k":6}]]}"#;
    assert_finds(
        text,
        &[
            ("$..j", &["1", "4"]),
            ("$..[0]", &["5", r#"{"j":4}"#]),
            ("$.o..[*, *]", &["1", "2", "1", "2"]),
            ("$.a..[0, 1]", &["5", "3", r#"{"j":4}"#, r#"{"k":6}"#]),
        ],
    );
}

#[test]
fn legacy_paths_are_paths_without_the_dollar() {
    let text = r#"{"a":{"b":[10,20,30],"x y":1},"$b":2,"a-b":3,"1":4}"#;
    assert_finds(
        text,
        &[
            (".a.b[0]", &["10"]),
            ("a.b", &["[10,20,30]"]),
            ("[\"a\"]['x y']", &["1"]),
            (".[\"a\"].b[-1]", &["30"]),
            ("..b", &["[10,20,30]"]),
            ("..b[1:]", &["20", "30"]),
            ("a.b[?(@>15)]", &["20", "30"]),
            ("$b", &["2"]),
            ("a-b", &["3"]),
            (".1", &["4"]),
            ("$.[\"a-b\"]", &["3"]),
            ("a.nothing", &[]),
        ],
    );
    assert_eq!(find(".", text), [text]);
    let path = Path::parse("a.b").unwrap();
    assert!(path.is_legacy() && path.is_static() && !path.is_root());
    assert!(!Path::parse("$.a").unwrap().is_legacy());
    assert!(Path::parse("$").unwrap().is_root() && Path::parse(".").unwrap().is_root());
    let (parent, last) = path.split_last().unwrap();
    assert_eq!((last, find(".a", text).len(), parent.is_root()), (Last::Name("b"), 1, false));
    assert!(Path::parse("$..a").unwrap().split_last().is_none());
}

#[test]
fn what_is_no_path_is_refused_with_its_place() {
    for (path, at) in [
        ("", 0),
        (" ", 0),
        ("$.", 2),
        ("$.a.", 4),
        ("$[", 2),
        ("$[0", 3),
        ("$['a]", 5),
        ("$[01]", 2),
        ("$[-0]", 2),
        ("$[9007199254740992]", 2),
        ("$.a[-inf]", 4),
        ("$ ", 1),
        ("$.a\n", 3),
        ("$[?@.a ==]", 9),
        ("$[?@..a == 1]", 3),
        ("$[?true]", 3),
        ("$[?(@.a]", 7),
        ("$[?length(@) ]", 3),
        ("$[?nothing(@)]", 3),
        ("\u{0}", 0),
        (".\"", 1),
    ] {
        assert_eq!(Path::parse(path).map_err(|error| error.at).err(), Some(at), "{path:?}");
    }
    let nested = format!("$[?{}@{}]", "(".repeat(100_000), ")".repeat(100_000));
    assert!(Path::parse(&nested).is_err());
    let filters = format!("$[?@{}{}", "[?@".repeat(100_000), "]".repeat(100_001));
    assert!(Path::parse(&filters).is_err());
}

#[test]
fn work_is_bounded() {
    let text = format!("[{}]", vec!["[[1,2],[3,4]]"; 2_000].join(","));
    let select = |path: &str| Path::parse(path).unwrap().select(text.as_bytes(), &mut Work::on(text.len()));
    assert_eq!(select("$..*").unwrap().len(), 2_000 * 7);
    assert_eq!(select("$..[?count($..[?count($..*) > 0]) > 0]"), Err(TooMuchWork));
    assert_eq!(select(&format!("${}", "[*,*,*,*,*,*,*,*]".repeat(3))), Err(TooMuchWork));
    assert_eq!(select(&format!("$..[{}'a']", "*,".repeat(5_000))), Err(TooMuchWork));
}

#[test]
fn deep_and_odd_texts_do_no_harm() {
    let deep = format!("{}1{}", "[".repeat(128), "]".repeat(128));
    assert_eq!(find("$..*", &deep).len(), 128);
    assert_eq!(find("$[0]..[0]", &deep).len(), 127);
    assert_eq!(find("$.a", r#"{"a":1,"a":2}"#), ["1"]);
    assert_eq!(find(r#"$["\u00e9"]"#, r#"{"é":1}"#), ["1"]);
    assert_eq!(find("$.é", r#"{"\u00e9":1}"#), ["1"]);
    assert_eq!(find("$..x", "12"), [""; 0]);
}

proptest! {
    #[test]
    fn no_path_and_no_text_does_harm(
        path in r#"[$@.]?[$@.\[\]?*:,()'"!=<>&|~\\ a-cé0-9\-{}]{0,24}"#,
        text in r#"[\[\]{}",: 0-2tn\\aé]{0,24}"#,
    ) {
        for given in [path.clone(), format!("$[?{path}]"), format!("$..[{path}]")] {
            if let Ok(path) = Path::parse(&given) {
                let _ = path.select(text.as_bytes(), &mut Work::on(text.len()));
            }
        }
    }
}
