//! Sample records of a small shop: several kinds of JSON, keys with parts, some that expire, one that is large.

use serde_json::{Value, json};

use crate::random::SplitMix;

/// A record that is to be written.
pub struct Sample {
    pub key: String,
    pub value: String,
    pub ttl_s: Option<u64>,
}

const NAMES: [&str; 16] = [
    "Ada Lovelace",
    "Alan Turing",
    "Grace Hopper",
    "Edsger Dijkstra",
    "Barbara Liskov",
    "Donald Knuth",
    "Frances Allen",
    "Tony Hoare",
    "Radia Perlman",
    "Leslie Lamport",
    "Margaret Hamilton",
    "Niklaus Wirth",
    "Karen Spärck Jones",
    "John McCarthy",
    "Jean Bartik",
    "Ken Thompson",
];
const LANGUAGES: [&str; 5] = ["en", "fr", "de", "ja", "pt"];
const CITIES: [&str; 6] = ["London", "Paris", "Zürich", "京都", "São Paulo", "New York"];
const PLANS: [&str; 3] = ["free", "team", "business"];
const GOODS: [(&str, &str, u64); 8] = [
    ("jam", "Strawberry jam", 450),
    ("flour", "Rye flour, 1 kg", 320),
    ("oil", "Olive oil, 0.5 l", 1190),
    ("tea", "Green tea, 100 g", 890),
    ("salt", "Sea salt, 250 g", 290),
    ("honey", "Heather honey", 780),
    ("rice", "Arborio rice, 1 kg", 410),
    ("coffee", "Coffee beans, 1 kg", 1850),
];
const STATES: [&str; 4] = ["placed", "paid", "shipped", "delivered"];

/// All samples; every run makes the same.
pub fn all() -> Vec<Sample> {
    let mut chance = Chance(SplitMix(1));
    let mut samples = Vec::new();
    let mut add = |key: String, value: Value, ttl_s: Option<u64>| {
        samples.push(Sample { key, value: value.to_string(), ttl_s });
    };
    for id in 1..=120 {
        add(format!("user:{id}"), user(id, &mut chance), None);
    }
    for (sku, name, cents) in GOODS {
        for size in 1..=6 {
            let value = json!({
                "sku": format!("{sku}-{size}"), "name": name, "size": size,
                "price": { "amount": cents * size, "currency": "EUR" },
                "stock": chance.below(500), "tags": [sku, "food"],
            });
            add(format!("product:{sku}:{size}"), value, None);
        }
    }
    for id in 1001..=1240 {
        add(format!("order:2026:{id}"), order(id, &mut chance), None);
    }
    for _ in 0..90 {
        let id = chance.0.next();
        let value = json!({
            "user": 1 + chance.below(120), "csrf": format!("{:016x}", chance.0.next()),
            "cart": (0..chance.below(4)).map(|_| line(&mut chance)).collect::<Vec<_>>(),
        });
        add(format!("session:{id:016x}"), value, Some(600 + chance.below(3_000)));
    }
    for part in 1..=40 {
        add(format!("rate:203.0.113.{part}"), json!(1 + chance.below(60)), Some(60 + chance.below(240)));
    }
    for (name, is_on) in [("new-checkout", true), ("dark-mode", true), ("gift-cards", false)] {
        let value =
            json!({ "on": is_on, "percent": if is_on { 25 } else { 0 }, "owner": chance.one(&NAMES) });
        add(format!("flag:{name}"), value, None);
    }
    for (language, text) in
        [("en", "Welcome to the larder"), ("fr", "Bienvenue"), ("ja", "ようこそ"), ("de", "Willkommen")]
    {
        add(format!("text:{language}"), json!({ "welcome": text, "plural": [null, "one", "many"] }), None);
    }
    let rows: Vec<Value> =
        (0..500).map(|row| json!([row, chance.below(1_000_000), chance.one(&CITIES)])).collect();
    add("report:2026-11".to_owned(), json!({ "columns": ["day", "cents", "city"], "rows": rows }), None);
    add("visits".to_owned(), json!(18_446_744_073_709_u64), None);
    samples
}

fn user(id: u64, chance: &mut Chance) -> Value {
    let name = chance.one(&NAMES);
    json!({
        "id": id, "name": name, "mail": format!("user{id}@example.com"), "plan": chance.one(&PLANS),
        "languages": [chance.one(&LANGUAGES)],
        "address": { "city": chance.one(&CITIES), "verified": chance.below(3) > 0 },
        "visits": chance.below(400), "referrer": null,
    })
}

fn order(id: u64, chance: &mut Chance) -> Value {
    let lines: Vec<Value> = (0..=chance.below(4)).map(|_| line(chance)).collect();
    json!({
        "id": id, "user": 1 + chance.below(120), "state": chance.one(&STATES),
        "placed": format!("2026-11-{:02}T{:02}:{:02}:00Z", 1 + chance.below(28), chance.below(24), chance.below(60)),
        "lines": lines,
    })
}

fn line(chance: &mut Chance) -> Value {
    let (sku, _, cents) = chance.one(&GOODS);
    let size = 1 + chance.below(6);
    json!({ "sku": format!("{sku}-{size}"), "count": 1 + chance.below(5), "cents": cents * size })
}

struct Chance(SplitMix);

impl Chance {
    /// A number from 0 up to but not including `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next() % bound
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn samples_are_several_hundred_of_several_kinds() {
        let samples = super::all();
        let keys: BTreeSet<_> = samples.iter().map(|sample| &sample.key).collect();
        assert_eq!(keys.len(), samples.len(), "no key comes twice");
        let kinds: BTreeSet<_> = keys.iter().filter_map(|key| key.split(':').next()).collect();
        assert!(samples.len() > 500 && kinds.len() >= 8, "{} {kinds:?}", samples.len());
        assert!(samples.iter().any(|sample| sample.ttl_s.is_some()));
        assert!(samples.iter().any(|sample| sample.value.len() > 10_000));
        assert_eq!(samples.len(), super::all().len());
    }
}
