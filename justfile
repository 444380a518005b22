# `just check` while you work, `just test` before you merge.

# Format, lints and unit tests: needs nothing but cargo, and takes a minute or two once the dependencies are built.
check:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    cargo test --lib

# Everything, with the programs that the tests need.
test:
    tests/run

# Writes the documents that are made from declarations.
docs:
    LARDER_UPDATE_DOCS=1 cargo test --lib up_to_date
