//! The longest common subsequence of two values: the algorithm behind LCS.

/// Most bytes of the table that one call may fill: 16 million pairs of bytes, some 30 ms. Redis allows
/// `proto-max-bulk-len`, 512 MB.
pub const TABLE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The table would take more than [`TABLE_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the values are too long to be compared")]
pub struct TooLong;

/// What LCS answers with. Of several longest subsequences, and of several ways to cut one into runs, the one that Redis
/// finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lcs {
    /// The subsequence; LEN is its length.
    pub text: Vec<u8>,
    /// Its runs, the last one first.
    pub matches: Vec<Match>,
}

/// A run of equal bytes: `a[a_start..a_start + len] == b[b_start..b_start + len]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    pub a_start: usize,
    pub b_start: usize,
    pub len: usize,
}

/// Compares `a` with `b` in time and memory proportional to the product of their lengths, which is bounded by
/// [`TABLE_BYTES_MAX`].
pub fn lcs(a: &[u8], b: &[u8]) -> Result<Lcs, TooLong> {
    let table = Table::fill(a, b)?;
    let mut text = Vec::with_capacity(table.get(a.len(), b.len()) as usize);
    let mut matches: Vec<Match> = Vec::new();
    let (mut i, mut j) = (a.len(), b.len());
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            match matches.last_mut() {
                Some(run) if (run.a_start, run.b_start) == (i, j) => {
                    *run = Match { a_start: i - 1, b_start: j - 1, len: run.len + 1 };
                }
                _ => matches.push(Match { a_start: i - 1, b_start: j - 1, len: 1 }),
            }
            i -= 1;
            j -= 1;
            text.push(a[i]);
        } else if table.get(i - 1, j) > table.get(i, j - 1) {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    text.reverse();
    Ok(Lcs { text, matches })
}

/// The length of the longest common subsequence of every two prefixes.
struct Table {
    lens: Vec<u32>,
    columns: usize,
}

impl Table {
    fn fill(a: &[u8], b: &[u8]) -> Result<Table, TooLong> {
        let columns = b.len() + 1;
        let cells = (a.len() + 1)
            .checked_mul(columns)
            .filter(|&cells| cells <= TABLE_BYTES_MAX / size_of::<u32>())
            .ok_or(TooLong)?;
        let mut lens = vec![0; cells];
        for (i, &x) in a.iter().enumerate() {
            let (above, below) = lens[i * columns..].split_at_mut(columns);
            for (j, &y) in b.iter().enumerate() {
                below[j + 1] = if x == y { above[j] + 1 } else { above[j + 1].max(below[j]) };
            }
        }
        Ok(Table { lens, columns })
    }

    fn get(&self, a_len: usize, b_len: usize) -> u32 {
        self.lens[a_len * self.columns + b_len]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn runs(a: &str, b: &str) -> (String, Vec<(usize, usize, usize)>) {
        let Lcs { text, matches } = lcs(a.as_bytes(), b.as_bytes()).unwrap();
        let runs = matches.iter().map(|run| (run.a_start, run.b_start, run.len)).collect();
        (String::from_utf8(text).unwrap(), runs)
    }

    #[test]
    fn agrees_with_redis() {
        // The first from Redis's documentation, the others asked of Redis 7.0.15.
        assert_eq!(runs("ohmytext", "mynewtext"), ("mytext".into(), vec![(4, 5, 4), (2, 0, 2)]));
        let several = vec![(17, 6, 2), (11, 1, 5), (9, 0, 1)];
        assert_eq!(runs("baaaaabaabaaaabbaab", "baaabbab"), ("baaabbab".into(), several));
        let from_the_first_byte = vec![(5, 16, 4), (1, 11, 4), (0, 9, 1)];
        assert_eq!(runs("bbababbba", "aabaaabaababababbbba"), ("bbababbba".into(), from_the_first_byte));
    }

    #[test]
    fn nothing_in_common() {
        for (a, b) in [("", ""), ("", "abc"), ("abc", ""), ("abc", "xyz")] {
            assert_eq!(runs(a, b), (String::new(), vec![]));
        }
    }

    #[test]
    fn the_table_is_bounded() {
        let a = vec![b'a'; TABLE_BYTES_MAX / 8 - 1];
        assert_eq!(lcs(&a, b"b").unwrap().text, b"");
        assert_eq!(lcs(&[&*a, b"a"].concat(), b"b"), Err(TooLong));
    }

    proptest! {
        #[test]
        fn matches_spell_the_subsequence(a in "[a-c]{0,24}", b in "[a-c]{0,24}") {
            let Lcs { text, matches } = lcs(a.as_bytes(), b.as_bytes()).unwrap();
            let mut spelled = Vec::new();
            for run in matches.iter().rev() {
                let of_a = &a.as_bytes()[run.a_start..][..run.len];
                prop_assert_eq!(of_a, &b.as_bytes()[run.b_start..][..run.len]);
                spelled.extend_from_slice(of_a);
            }
            prop_assert_eq!(&spelled, &text);
            // It is longest: mirrored texts have one of the same length.
            let mirror = |text: &str| text.bytes().rev().collect::<Vec<u8>>();
            prop_assert_eq!(lcs(&mirror(&a), &mirror(&b)).unwrap().text.len(), text.len());
        }
    }
}
