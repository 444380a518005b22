//! The file of the history, as docs/FORMAT.md describes it. It names its columns, so a version that remembers other
//! figures still reads those that both know.
//!
//! The file is of use only to people, so damage to it never keeps a server from starting: the history is then empty.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::{History, Point, SPANS, push};
use crate::files;
use crate::limits::HISTORY_FILE_BYTES_MAX;

const MAGIC: &[u8; 8] = b"LARDERHI";
const FORMAT: u32 = 1;
const CHECKSUM_BYTES: usize = 8;

/// Why a file can't be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    #[error("it has format {0}, and this version knows only format {FORMAT}")]
    Newer(u32),
}

use HistoryError::Damaged;

impl History {
    /// Replaces the file.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        files::replace(path, &self.encoded())
    }

    /// Adds what a file has. Nothing is added if there is none, or if it can't be read as a whole.
    pub fn load(&self, path: &Path) -> Result<(), HistoryError> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        let mut contents = Vec::new();
        file.take(HISTORY_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut contents)?;
        if contents.len() > HISTORY_FILE_BYTES_MAX {
            return Err(Damaged("it is too long"));
        }
        self.take(&contents)
    }

    fn encoded(&self) -> Vec<u8> {
        let rings = self.rings.lock();
        let mut out = MAGIC.to_vec();
        out.extend(FORMAT.to_be_bytes());
        out.push(self.names().count() as u8);
        for name in self.names() {
            out.push(name.len() as u8);
            out.extend(name.as_bytes());
        }
        out.push(SPANS.len() as u8);
        for (span, points) in SPANS.iter().zip(&rings.points) {
            out.extend((span.step_ms as u32).to_be_bytes());
            out.extend((points.len() as u32).to_be_bytes());
            for point in points {
                out.extend(point.at_ms.to_be_bytes());
                point.values.iter().for_each(|value| out.extend(value.to_be_bytes()));
            }
        }
        out.extend(xxh3_64(&out).to_be_bytes());
        out
    }

    pub(super) fn take(&self, contents: &[u8]) -> Result<(), HistoryError> {
        let Some((contents, checksum)) = contents.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Err(Damaged("it is too short"));
        };
        let mut rest = Rest(contents);
        if rest.array()? != *MAGIC {
            return Err(Damaged("it is another kind of file"));
        }
        let format = u32::from_be_bytes(rest.array()?);
        if xxh3_64(contents) != u64::from_be_bytes(*checksum) {
            return Err(Damaged("its checksum is wrong"));
        }
        if format > FORMAT {
            return Err(HistoryError::Newer(format));
        }
        let names = (0..rest.byte()?).map(|_| rest.name()).collect::<Result<Vec<_>, _>>()?;
        // where each of our columns is in the file
        let places: Vec<Option<usize>> =
            self.names().map(|name| names.iter().position(|other| *other == name.as_bytes())).collect();
        let mut loaded = [const { VecDeque::new() }; SPANS.len()];
        for _ in 0..rest.byte()? {
            let (step_ms, count) = (u32::from_be_bytes(rest.array()?), u32::from_be_bytes(rest.array()?));
            let at = SPANS.iter().position(|span| span.step_ms == u64::from(step_ms));
            let mut last_ms = 0;
            for _ in 0..count {
                let (at_ms, values) = rest.point(names.len())?;
                if at_ms <= last_ms {
                    return Err(Damaged("its points are in disorder"));
                }
                last_ms = at_ms;
                let of_place = |place: &Option<usize>| place.map_or(f32::NAN, |place| values[place]);
                if let Some(at) = at {
                    let point = Point { at_ms, values: places.iter().map(of_place).collect() };
                    push(&mut loaded[at], &SPANS[at], point);
                }
            }
        }
        if !rest.0.is_empty() {
            return Err(Damaged("there is something behind its end"));
        }
        self.rings.lock().points = loaded;
        Ok(())
    }
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], HistoryError> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Damaged("it ends too early"))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], HistoryError> {
        self.bytes(N)?.try_into().map_err(|_| Damaged("it ends too early"))
    }

    fn byte(&mut self) -> Result<usize, HistoryError> {
        self.array::<1>().map(|[byte]| byte.into())
    }

    fn name(&mut self) -> Result<&'a [u8], HistoryError> {
        let length = self.byte()?;
        self.bytes(length)
    }

    fn point(&mut self, values: usize) -> Result<(u64, Vec<f32>), HistoryError> {
        let at_ms = u64::from_be_bytes(self.array()?);
        let values = (0..values).map(|_| self.array().map(f32::from_be_bytes));
        Ok((at_ms, values.collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::telemetry::history::Column;
    use crate::telemetry::history::tests::{COLUMNS, look};

    const NOW_MS: u64 = 1_000_000;

    fn some() -> History {
        let history = History::new(COLUMNS.to_vec());
        (0..200).for_each(|step| _ = history.note(look(step * 10, step * 40)));
        history
    }

    fn shown(history: &History) -> String {
        // by their text, because what is not known is not equal to itself
        format!("{:?}", SPANS.each_ref().map(|span| history.points(span, NOW_MS)))
    }

    #[test]
    fn a_history_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history");
        let (before, after) = (some(), History::new(COLUMNS.to_vec()));
        after.load(&path).unwrap();
        assert_eq!(after.points(&SPANS[0], NOW_MS), []);
        before.save(&path).unwrap();
        after.load(&path).unwrap();
        assert_eq!(shown(&after), shown(&before));
        // and goes on
        after.note(look(5_000, 9));
        after.note(look(5_010, 19));
        assert_eq!(after.points(&SPANS[0], NOW_MS).len(), 200);
    }

    #[test]
    fn figures_are_found_by_their_names() {
        let bytes = some().encoded();
        let other = [Column { name: "new", is_counter: false }, COLUMNS[1]];
        let after = History::new(other.to_vec());
        after.take(&bytes).unwrap();
        let points = after.points(&SPANS[0], NOW_MS);
        assert_eq!((points.len(), points[0].values.len(), points[0].values[1]), (199, 5, 7.0));
        assert!(points[0].values[0].is_nan());
    }

    /// The same bytes with a right checksum.
    fn sealed(mut bytes: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        bytes.truncate(bytes.len() - CHECKSUM_BYTES);
        change(&mut bytes);
        bytes.extend(xxh3_64(&bytes).to_be_bytes());
        bytes
    }

    #[test]
    fn a_damaged_file_is_refused_as_a_whole() {
        let whole = some().encoded();
        // magic, format, the names of five columns, the number of spans, the step of the first one
        let first_count = 8 + 4 + 1 + (1 + 5) + (1 + 5) + 2 * (1 + 27) + (1 + 28) + 1 + 4;
        assert_eq!(whole[first_count..][..4], 199_u32.to_be_bytes());
        let with = |at: usize, bytes: &[u8]| {
            sealed(whole.clone(), |whole| whole[at..][..bytes.len()].copy_from_slice(bytes))
        };
        let hostile: [(Vec<u8>, &str); 12] = [
            (Vec::new(), "it is damaged: it is too short"),
            (whole[..7].to_vec(), "it is damaged: it is too short"),
            (whole[..40].to_vec(), "it is damaged: its checksum is wrong"),
            ([&whole[..], b"x"].concat(), "it is damaged: its checksum is wrong"),
            (with(0, b"LARDERJL"), "it is damaged: it is another kind of file"),
            (with(8, &7_u32.to_be_bytes()), "it has format 7, and this version knows only format 1"),
            (with(12, &[255]), "it is damaged: it ends too early"),
            (with(first_count - 5, &[255]), "it is damaged: it ends too early"),
            (with(first_count, &u32::MAX.to_be_bytes()), "it is damaged: its points are in disorder"),
            (with(first_count + 4, &u64::MAX.to_be_bytes()), "it is damaged: its points are in disorder"),
            (
                sealed(whole.clone(), |whole| whole.push(0)),
                "it is damaged: there is something behind its end",
            ),
            (sealed(whole.clone(), |whole| whole.truncate(20)), "it is damaged: it ends too early"),
        ];
        for (contents, why) in hostile {
            let history = some();
            let before = shown(&history);
            assert_eq!(history.take(&contents).unwrap_err().to_string(), why);
            assert_eq!(shown(&history), before, "{why}");
        }
        let history = History::new(COLUMNS.to_vec());
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(history.take(&changed).is_err(), "{at}");
            assert!(history.take(&whole[..at]).is_err(), "{at}");
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(some().load(&path).unwrap_err().to_string(), "it is damaged: it is too long");
        // a full history with as many columns as there may be fits
        let points: usize = SPANS.iter().map(|span| span.points_max).sum();
        assert!(points * (8 + 4 * 64) + 64 * 256 < HISTORY_FILE_BYTES_MAX);
    }
}
