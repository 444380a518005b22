//! Bytes and processor time of compressed records, without a server: `cargo bench --profile dist --bench compression`.
//!
//! JSON records that are all different, as in the loads `records-166b` and `records-1k` of `compare`. The times are
//! those of one thread, and the fastest of several rounds.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use larder::record::dictionary::encode::Encoder;
use larder::record::{Compression, compress, decompress};

#[path = "compare/loads/values.rs"]
mod values;

use values::{kilobyte, small};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const RECORDS: usize = 2_000;
const ROUNDS: usize = 5;
/// As many as a checkpoint learns from.
const LEARNED_FROM: usize = 64;

fn main() {
    println!("| values | `compression` | bytes | µs to compress | µs to decompress |\n|---|---|---|---|---|");
    for value in [small as fn(usize) -> String, kilobyte, document] {
        let values: Vec<Vec<u8>> = (0..RECORDS).map(|at| value(at * 37).into_bytes()).collect();
        let others: Vec<Vec<u8>> =
            (0..2 * LEARNED_FROM).map(|at| value(1_000_000 + at * 61).into_bytes()).collect();
        let others = |from: usize| others.iter().skip(from).step_by(2).map(Vec::as_slice);
        let encoder = Encoder::learn(1, others(0), others(1));
        let bytes = values.iter().map(Vec::len).sum::<usize>() / values.len();
        for (setting, encoder) in [
            ("4:64:no-dictionaries", None),
            ("4:64", encoder.as_ref()),
            ("5:64", encoder.as_ref()),
            ("9:64", encoder.as_ref()),
        ] {
            let (stored, compress_us, decompress_us) = measure(&values, &setting.parse().unwrap(), encoder);
            println!("| {bytes} B | `{setting}` | {stored:.1} | {compress_us:.2} | {decompress_us:.2} |");
        }
    }
}

/// Bytes of a compressed value, and µs to compress and to decompress it.
fn measure(values: &[Vec<u8>], compression: &Compression, encoder: Option<&Encoder>) -> (f64, f64, f64) {
    let all = || values.iter().map(|value| compress(value, compression, encoder)).collect::<Vec<_>>();
    let compressed = all();
    let compressing = fastest(|| drop(black_box(all())));
    let dictionary = encoder.map(|encoder| &encoder.dictionary);
    let decompressing = fastest(|| {
        for encoded in &compressed {
            black_box(decompress(&encoded.payload, encoded.plain_len, dictionary).unwrap());
        }
    });
    let each = 1.0 / values.len() as f64;
    let stored: usize = compressed.iter().map(|encoded| encoded.payload.len()).sum();
    let [compress_us, decompress_us] = [compressing, decompressing].map(|all| all.as_secs_f64() * 1e6 * each);
    (stored as f64 * each, compress_us, decompress_us)
}

fn fastest(work: impl Fn()) -> Duration {
    let rounds = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        work();
        began.elapsed()
    });
    rounds.min().unwrap()
}

fn document(at: usize) -> String {
    let orders: Vec<String> = (0..10).map(|order| kilobyte(at * 10 + order)).collect();
    format!(r#"{{"id":{at},"orders":[{}]}}"#, orders.join(","))
}
