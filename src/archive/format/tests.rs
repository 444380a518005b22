//! Every object comes back as it was, and nothing else is taken for one.

use super::*;
use crate::limits::{ARCHIVE_ADDRESS_BYTES_MAX, ARCHIVE_SEGMENT_BYTES_MAX, ARCHIVE_SNAPSHOTS_MAX};

const ARCHIVE: Id = Id(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
const SNAPSHOT: SnapshotName = SnapshotName { entry: 40, id: 0xabc };

fn lease() -> Lease {
    Lease {
        archive: ARCHIVE,
        epoch: 3,
        counter: 77,
        holder: Id(5),
        state: LeaseState::Released { heir: Some(Id(6)) },
        entry: 1_234,
        length_ms: 10_000,
        address: "node-1.example:6379".to_owned(),
    }
}

fn manifest() -> Manifest {
    let listed = |entry, next_segment| Listed {
        name: SnapshotName { entry, id: 9 },
        next_segment,
        time_ms: 1_793_491_200_000,
        bytes: 1 << 40,
    };
    Manifest { archive: ARCHIVE, serial: 4, first_segment: 7, snapshots: vec![listed(40, 7), listed(41, 7)] }
}

fn segment() -> SegmentHeader {
    SegmentHeader {
        archive: ARCHIVE,
        epoch: 3,
        number: 12,
        kind: Kind::Entries,
        first: 41,
        last: 43,
        earliest_ms: 1_793_491_200_000,
        latest_ms: 1_793_491_200_900,
        codec: Codec::Brotli,
        plain_bytes: 100,
        stored_bytes: 0,
        checksum: 0,
    }
    .describe(b"body")
}

fn contents() -> SnapshotContents {
    let parts = vec![StoredPart { bytes: 84, checksum: 1 }, StoredPart { bytes: 90, checksum: 2 }];
    SnapshotContents { archive: ARCHIVE, name: SNAPSHOT, time_ms: 8, plain_bytes: 200, parts }
}

fn part() -> PartHeader {
    PartHeader {
        archive: ARCHIVE,
        snapshot: SNAPSHOT,
        part: 2,
        codec: Codec::Plain,
        plain_bytes: 4,
        stored_bytes: 0,
        checksum: 0,
    }
    .describe(b"body")
}

fn mark() -> Mark {
    Mark { archive: ARCHIVE, segment: 12, entry: 43, own: vec![0, 3] }
}

/// An object, and what decoding says of it; an encoding that does not come back as it was counts as an error.
type Case = (&'static str, Vec<u8>, fn(&[u8]) -> Result<Vec<u8>, FormatError>);

fn objects() -> Vec<Case> {
    vec![
        ("lease", lease().encode(), |bytes| Ok(Lease::decode(bytes)?.encode())),
        ("manifest", manifest().encode(), |bytes| Ok(Manifest::decode(bytes)?.encode())),
        ("mark", mark().encode(), |bytes| Ok(Mark::decode(bytes)?.encode())),
        ("contents", contents().encode(), |bytes| Ok(SnapshotContents::decode(bytes)?.encode())),
        ("segment", [segment().encode(), b"body".to_vec()].concat(), |bytes| {
            let (header, body) = SegmentHeader::open(bytes)?;
            Ok([header.encode(), body.to_vec()].concat())
        }),
        ("part", [part().encode(), b"body".to_vec()].concat(), |bytes| {
            let (header, body) = PartHeader::open(bytes)?;
            Ok([header.encode(), body.to_vec()].concat())
        }),
    ]
}

/// The same object with other bytes at a place, and the checksum at its end right again.
fn forged(object: &[u8], at: usize, with: &[u8]) -> Vec<u8> {
    let mut object = object.to_vec();
    object[at..at + with.len()].copy_from_slice(with);
    object.truncate(object.len() - 8);
    let checksum = xxhash_rust::xxh3::xxh3_64(&object);
    [object, checksum.to_be_bytes().to_vec()].concat()
}

#[test]
fn objects_come_back_as_they_were() {
    assert_eq!(Lease::decode(&lease().encode()), Ok(lease()));
    let held = Lease { state: LeaseState::Held, address: String::new(), ..lease() };
    assert_eq!(Lease::decode(&held.encode()), Ok(held));
    assert_eq!(Manifest::decode(&manifest().encode()), Ok(manifest()));
    assert_eq!(Mark::decode(&mark().encode()), Ok(mark()));
    assert_eq!(SnapshotContents::decode(&contents().encode()), Ok(contents()));
    assert_eq!(SegmentHeader::decode(&segment().encode()), Ok(segment()));
    assert_eq!(PartHeader::decode(&part().encode()), Ok(part()));
    let base = Base { name: SNAPSHOT, time_ms: 5, bytes: 6 };
    assert_eq!(Base::decode(&base.encode()), Ok(base));
    for (what, object, decoded) in objects() {
        assert_eq!(decoded(&object).as_ref(), Ok(&object), "{what}");
    }
}

#[test]
fn what_is_cut_longer_or_changed_is_refused() {
    for (what, object, decoded) in objects() {
        for end in 0..object.len() {
            assert!(decoded(&object[..end]).is_err(), "{what} cut at {end}");
        }
        for more in 1..20 {
            let longer = [&object[..], &vec![0; more]].concat();
            assert!(decoded(&longer).is_err(), "{what} with {more} bytes more");
        }
        for bit in 0..object.len() * 8 {
            let mut changed = object.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(decoded(&changed).is_err(), "{what} with bit {bit} flipped");
        }
    }
}

#[test]
fn the_error_says_what_is_wrong() {
    for (what, object, decoded) in objects() {
        let newer = [&object[..8], &2u32.to_be_bytes(), &object[12..]].concat();
        assert!(matches!(decoded(&newer), Err(FormatError::Newer { format: 2, .. })), "{what}");
        let foreign = [b"something else", &object[14..]].concat();
        assert!(matches!(decoded(&foreign), Err(FormatError::Foreign { .. })), "{what}");
        assert!(matches!(
            decoded(&object[..object.len() - 1]),
            Err(FormatError::Damaged { .. } | FormatError::Length { .. })
        ));
    }
    let newer = FormatError::Newer { what: "lease", format: 2 }.to_string();
    assert_eq!(
        newer,
        "the lease has format 2, and this version reads only formats up to 1: use a newer version"
    );
}

#[test]
fn what_no_server_writes_is_refused_although_its_checksum_is_right() {
    let (most, number) = (u32::MAX.to_be_bytes(), u64::MAX.to_be_bytes());
    let too_many = |count: usize| (count as u32 + 1).to_be_bytes();
    let segment = segment().encode();
    type Decoded = fn(&[u8]) -> Option<FormatError>;
    let [lease_of, manifest_of, mark_of, contents_of, segment_of, part_of]: [Decoded; 6] = [
        |bytes| Lease::decode(bytes).err(),
        |bytes| Manifest::decode(bytes).err(),
        |bytes| Mark::decode(bytes).err(),
        |bytes| SnapshotContents::decode(bytes).err(),
        |bytes| SegmentHeader::decode(bytes).err(),
        |bytes| PartHeader::decode(bytes).err(),
    ];
    let cases: [(&str, Decoded, Vec<u8>); 24] = [
        ("a state", lease_of, forged(&lease().encode(), 12, &most)),
        ("an heir of a lease that is held", lease_of, forged(&lease().encode(), 12, &1u32.to_be_bytes())),
        ("a long address", lease_of, forged(&lease().encode(), 92, &most[..2])),
        ("a short address", lease_of, forged(&lease().encode(), 92, &[0, 1])),
        ("an address that is no text", lease_of, forged(&lease().encode(), 94, &[0xff])),
        ("many snapshots", manifest_of, forged(&manifest().encode(), 12, &most)),
        (
            "a snapshot too many",
            manifest_of,
            forged(&manifest().encode(), 12, &too_many(ARCHIVE_SNAPSHOTS_MAX)),
        ),
        ("snapshots out of order", manifest_of, forged(&manifest().encode(), 48, &number)),
        ("a snapshot that nothing follows", manifest_of, forged(&manifest().encode(), 40, &number)),
        ("many epochs", mark_of, forged(&mark().encode(), 12, &most)),
        ("epochs out of order", mark_of, forged(&mark().encode(), 48, &number)),
        ("many parts", contents_of, forged(&contents().encode(), 12, &most)),
        ("parts that are too short", contents_of, forged(&contents().encode(), 56, &number)),
        ("a kind", segment_of, forged(&segment, 12, &most)),
        ("a fence with entries", segment_of, forged(&segment, 12, &2u32.to_be_bytes())),
        ("an end before the beginning", segment_of, forged(&segment, 48, &number)),
        ("an epoch that can't be counted up", lease_of, forged(&lease().encode(), 32, &number)),
        ("a first segment", manifest_of, forged(&manifest().encode(), 40, &number)),
        ("a serial number", manifest_of, forged(&manifest().encode(), 32, &number)),
        ("a mark's entry", mark_of, forged(&mark().encode(), 40, &number)),
        ("a last entry", segment_of, forged(&segment, 56, &number)),
        ("a reserved field", segment_of, forged(&segment, 84, &[1])),
        ("a reserved field of a part", part_of, forged(&part().encode(), 60, &[1])),
        ("a long body", segment_of, forged(&segment, 88, &(ARCHIVE_SEGMENT_BYTES_MAX + 1).to_be_bytes())),
    ];
    for (what, decoded, bytes) in cases {
        let error = decoded(&bytes);
        assert!(error.is_some_and(|error| !error.to_string().contains("checksum")), "{what}: {error:?}");
    }
    let forged_part = forged(&part().encode(), 52, &most);
    assert!(matches!(part_of(&forged_part), Some(FormatError::TooLarge { .. })));
    let long = Lease { address: "a".repeat(ARCHIVE_ADDRESS_BYTES_MAX + 1), ..lease() };
    assert!(matches!(Lease::decode(&long.encode()), Err(FormatError::TooLarge { .. })));
    assert!(Base::decode(&[0; 31]).is_err());
}

/// What was written once has to be readable for ever.
#[test]
fn the_bytes_are_those_of_format_1() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(
        hex(&segment().encode()),
        "4c4152444552415300000001000000010011223344556677\
         8899aabbccddeeff0000000000000003000000000000000c\
         0000000000000029000000000000002b000001a19467e800\
         000001a19467eb8400000001000000000000000000000064\
         000000000000000484f2c8ee187fe1faf23851c81a926ed4"
    );
    // the checksums of the other objects stand for all of their bytes
    let ends: Vec<String> = objects().iter().map(|(_, object, _)| hex(&object[object.len() - 8..])).collect();
    let known = [
        "974d03822ce8aae0",
        "c10ad627d2d7e791",
        "dc6414e81be2735b",
        "ab828362c95c844b",
        "1a926ed4626f6479",
        "940bf61a626f6479",
    ];
    assert_eq!(ends, known);
}

#[test]
fn names() {
    let cases = [
        (Name::Manifest, "manifest"),
        (Name::Lease, "lease"),
        (Name::Segment(17), "log/00000000000000000017"),
        (Name::Segment(u64::MAX), "log/18446744073709551615"),
        (Name::Part(SNAPSHOT, 3), "snapshots/00000000000000000040-0000000000000abc/part-00000003"),
        (Name::Done(SNAPSHOT), "snapshots/00000000000000000040-0000000000000abc/done"),
    ];
    for (name, text) in cases {
        assert_eq!(name.to_string(), text);
        assert_eq!(Name::parse(text), Some(name));
    }
    let foreign = [
        "",
        "Manifest",
        "manifest/",
        "log/",
        "log/17",
        "log/+0000000000000000017",
        "log/00000000000000000017.tmp",
        "log/99999999999999999999",
        "snapshots/00000000000000000040-0000000000000abc",
        "snapshots/00000000000000000040-0000000000000ABC/done",
        "snapshots/00000000000000000040-0000000000000abc/Done",
        "snapshots/00000000000000000040-0000000000000abc/part-3",
        "snapshots/00000000000000000040-0000000000000abc/part-00000003/x",
    ];
    for text in foreign {
        assert_eq!(Name::parse(text), None, "{text}");
    }
}
