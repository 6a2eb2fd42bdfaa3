//! The fields that Zoom documents: their types, an example and, where Zoom gives one, their meaning.

/// The JSON type of a field. Every field can also be null: cleaning turns `""` into null, and hidden values are null.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ValueType {
    Text,
    /// A time in the format of RFC 3339.
    Time,
    Texts,
    Boolean,
    Integer,
    Number,
}

pub(crate) struct KnownField {
    pub(crate) name: &'static str,
    pub(crate) value: ValueType,
    /// An example as JSON; empty if there is none.
    pub(crate) example: &'static str,
    /// The meaning in our words; empty if Zoom documents none.
    pub(crate) meaning: &'static str,
}

impl KnownField {
    pub(crate) const fn new(
        name: &'static str,
        value: ValueType,
        example: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self { name, value, example, meaning }
    }
}

/// The fields of a participant, in the order of the columns of rows. `user_qos`, the list of samples, is not among them.
#[rustfmt::skip]
pub(crate) const PARTICIPANT: [KnownField; 43] = {
    use ValueType::{Boolean, Number, Text, Texts, Time};
    let field = KnownField::new;
    [
        // The person and the stay.
        field("user_id", Text, r#""1670000000""#, "The participant's id, assigned on joining and valid only for this meeting."),
        field("id", Text, r#""_f08HhPJS82MIVLuuFaJPg""#, "The user's id, if the participant is logged in to Zoom."),
        field("participant_uuid", Text, r#""D444CD06-2ABB-2FCC-019B-39E41D8DADF7""#, ""),
        field("user_name", Text, r#""User""#, "The display name. Null for some users outside the host's account."),
        field("email", Text, r#""user@example.com""#, "The email address. Null for most users outside the host's account."),
        field("join_time", Time, r#""2021-06-24T20:00:00Z""#, "When the participant joined."),
        field("leave_time", Time, r#""2021-06-24T20:30:00Z""#, "When the participant left. Absent or null until then."),
        // Zoom's own verdict.
        field("health", Text, r#""Warning""#, "Good, Warning or Critical."),
        field("issue_list", Texts, r#"["audio"]"#, "At most five texts, such as audio."),
        field("rc_reason", Text, "", ""),
        // The network.
        field("network_type", Text, r#""Wifi""#, "Wired, Wifi, PPP (point-to-point), Cellular, or Others for an unknown device."),
        field("connection_type", Text, r#""UDP""#, "P2P, TCP, UDP, Reliable UDP, SSL or HTTP; or one of these with +Proxy."),
        field("video_connection_type", Text, r#""UDP""#, "As connection_type."),
        field("as_connection_type", Text, r#""UDP""#, "As connection_type."),
        field("location", Text, r#""San Jose (US)""#, "The participant's location. Null for some users outside the host's account."),
        field("data_center", Text, r#""United States (SC Top)""#, "The data center that has the participant's meeting data."),
        field("full_data_center", Text, r#""United States (SC Top);""#, "As data_center, with those of HTTP tunnels, Cloud Room Connectors and web gateways, separated by semicolons."),
        field("ip_address", Text, r#""192.0.2.0""#, "The participant's IP address. Null for some users outside the host's account."),
        field("internal_ip_addresses", Texts, r#"["10.0.0.1"]"#, ""),
        field("mac_addr", Text, r#""f85e-a012-92d8""#, "The device's MAC address. Null for users outside the host's account."),
        field("domain", Text, r#""user-android""#, "The PC's domain. Null for users outside the host's account."),
        // The device.
        field("device", Text, r#""Android""#, "How the participant joined: Phone (PSTN), H.323/SIP, Windows, Mac, iOS or Android. Null for users outside the host's account."),
        field("device_name", Text, r#""iPhone 7 Global""#, ""),
        field("client", Text, r#""Zoom Workplace""#, ""),
        field("version", Text, r#""4.4.55383.0726""#, "The version of the Zoom client."),
        field("os", Text, r#""iOS""#, ""),
        field("os_version", Text, r#""16.5""#, ""),
        field("browser_name", Text, r#""Firefox""#, ""),
        field("browser_version", Text, r#""133""#, ""),
        field("pc_name", Text, r#""User's Phone""#, "The PC's name."),
        field("harddisk_id", Text, r#""Disk01""#, "The hard disk's id. Null for users outside the host's account."),
        field("camera", Text, r#""FaceTime HD Camera""#, "The kind of camera. Null for users outside the host's account."),
        field("microphone", Text, r#""Microphone (High Definition Audio Device)""#, "The kind of microphone. Null for users outside the host's account."),
        field("speaker", Text, r#""Speaker (High Definition Audio Device)""#, "The kind of speaker. Null for users outside the host's account."),
        field("zoom_thin_client_plugin_version", Text, r#""6.5.11.26770""#, ""),
        // The rest.
        field("share_application", Boolean, "false", "Whether the participant shared an iPhone or iPad app."),
        field("share_desktop", Boolean, "false", "Whether the participant shared the desktop."),
        field("share_whiteboard", Boolean, "false", "Whether the participant shared a whiteboard."),
        field("recording", Boolean, "false", "Whether recording was used."),
        field("has_archiving", Boolean, "true", "Whether archiving was used."),
        field("optional_archiving", Text, r#""no optional archiving""#, "No optional archiving, join without archiving, or join with archiving; in lower case."),
        field("groupId", Text, r#""TcjqVCTzRy6hLa0d8WpAIg""#, ""),
        field("total_jointime_cost", Number, "4.89", ""),
    ]
};

pub(crate) const CPU_USAGE: [KnownField; 4] = {
    use ValueType::Number;
    let field = KnownField::new;
    [
        field("zoom_min_cpu_usage_percent", Number, "8", "Zoom's minimum."),
        field("zoom_avg_cpu_usage_percent", Number, "12", "Zoom's average."),
        field("zoom_max_cpu_usage_percent", Number, "18", "Zoom's maximum."),
        field("system_max_cpu_usage_percent", Number, "40", "The whole system's maximum."),
    ]
};
