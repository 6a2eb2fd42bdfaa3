//! The units that a row can stand for, and the formats in which rows are written.

vocabulary! {
    /// The unit of a row. The word is the value of the query parameter `rows`.
    pub enum RowShape {
        /// A participant's sample, with all groups.
        Sample = "sample",
        /// One group of a sample.
        Group = "group",
    }
}

vocabulary! {
    /// How rows are written. The word is the value of the query parameter `format`.
    pub enum RowFormat {
        /// A JSON object on each line.
        Ndjson = "ndjson",
        /// RFC 4180, with a header line.
        Csv = "csv",
    }
}
