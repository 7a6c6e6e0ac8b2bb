//! The tables as Diesel sees them: the same types on both stores. A test compares this with each store's schema
//! catalogue.
#![expect(missing_docs, reason = "the migrations describe tables and columns")]

use diesel::{allow_tables_to_appear_in_same_query, table};

table! {
    organizations (id) {
        id -> BigInt,
        name -> Text,
        display_name -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
        deleted_at -> Nullable<BigInt>,
    }
}

table! {
    event_types (id) {
        id -> BigInt,
        name -> Text,
        description -> Text,
        json_schema -> Nullable<Text>,
        schema_mode -> Text,
        schema_version -> Integer,
        example -> Nullable<Text>,
        archived -> Bool,
        created_at -> BigInt,
        updated_at -> BigInt,
        visible_to -> Nullable<Text>,
    }
}

table! {
    event_type_schemas (event_type_id, version) {
        event_type_id -> BigInt,
        version -> Integer,
        json_schema -> Nullable<Text>,
        created_at -> BigInt,
    }
}

table! {
    webhooks (id) {
        id -> BigInt,
        organization_id -> BigInt,
        payload_url -> Text,
        pull -> Bool,
        events -> Text,
        filter -> Text,
        active -> Bool,
        disabled_reason -> Nullable<Text>,
        disabled_at -> Nullable<BigInt>,
        description -> Text,
        headers -> Binary,
        timeout_ms -> BigInt,
        retry_delays_ms -> Nullable<Text>,
        rate_limit -> Nullable<Double>,
        ordered -> Bool,
        pauses -> Bool,
        insecure_skip_verify -> Bool,
        ed25519 -> Nullable<Binary>,
        version -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
        deleted_at -> Nullable<BigInt>,
    }
}

table! {
    signing_secrets (id) {
        id -> BigInt,
        webhook_id -> BigInt,
        sealed -> Binary,
        created_at -> BigInt,
        expires_at -> Nullable<BigInt>,
    }
}

table! {
    events (id) {
        id -> BigInt,
        organization_id -> BigInt,
        event_type -> Text,
        payload -> Binary,
        webhooks -> Binary,
        occurred_at -> BigInt,
        attributes -> Nullable<Text>,
        trace -> Nullable<Binary>,
        tracestate -> Nullable<Text>,
        request_id -> Nullable<Text>,
        ordering_key -> Nullable<Text>,
        replay_of -> Nullable<BigInt>,
    }
}

table! {
    event_replays (event_id, replay_id) {
        event_id -> BigInt,
        replay_id -> BigInt,
    }
}

table! {
    replays (id) {
        id -> BigInt,
        organization_id -> BigInt,
        request_id -> Nullable<Text>,
        spec -> Text,
        state -> Integer,
        error -> Nullable<Text>,
        first_id -> BigInt,
        last_id -> BigInt,
        cursor -> BigInt,
        examined -> BigInt,
        matched -> BigInt,
        replayed -> BigInt,
        skipped -> BigInt,
        node -> Integer,
        leased_until -> BigInt,
        created_at -> BigInt,
        ended_at -> Nullable<BigInt>,
    }
}

table! {
    operations (id) {
        id -> BigInt,
        organization_id -> BigInt,
        organization -> Text,
        kind -> Text,
        webhook_id -> Nullable<BigInt>,
        through -> BigInt,
        actor -> Text,
        state -> Integer,
        error -> Nullable<Text>,
        at_webhook -> BigInt,
        at_node -> Integer,
        at_due -> BigInt,
        at_delivery -> BigInt,
        found -> BigInt,
        done -> BigInt,
        total -> Nullable<BigInt>,
        node -> Integer,
        leased_until -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
        ended_at -> Nullable<BigInt>,
        begun_at -> BigInt,
    }
}

table! {
    delivery_changes (stream, position) {
        stream -> Integer,
        position -> BigInt,
        deliveries -> Binary,
    }
}

table! {
    delivery_stats (subject_id, period, started_at, node) {
        subject_id -> BigInt,
        period -> BigInt,
        started_at -> BigInt,
        node -> Integer,
        attempts -> BigInt,
        failed_attempts -> BigInt,
        delivered -> BigInt,
        failed -> BigInt,
        durations -> Binary,
        latencies -> Binary,
    }
}

table! {
    attempts (delivery_id, number) {
        delivery_id -> BigInt,
        number -> Integer,
        event_id -> BigInt,
        organization_id -> BigInt,
        webhook_id -> BigInt,
        started_at -> BigInt,
        duration_us -> BigInt,
        status -> Nullable<Integer>,
        error_class -> Nullable<Text>,
        error_message -> Nullable<Text>,
        delivery_state -> Integer,
        details -> Text,
        response_body -> Nullable<Binary>,
    }
}

table! {
    pending_deliveries (delivery_id) {
        delivery_id -> BigInt,
        event_id -> BigInt,
        organization_id -> BigInt,
        webhook_id -> BigInt,
        due_at -> BigInt,
        attempts -> Integer,
        node -> Integer,
        ordering_key -> Nullable<Text>,
        position -> Nullable<BigInt>,
        leased_at -> Nullable<BigInt>,
    }
}

table! {
    delivery_endings (delivery_id) {
        delivery_id -> BigInt,
        event_id -> BigInt,
        organization_id -> BigInt,
        webhook_id -> BigInt,
        state -> Integer,
        reason -> Text,
        ended_at -> BigInt,
    }
}

table! {
    idempotency_keys (organization_id, request_id) {
        organization_id -> BigInt,
        request_id -> Text,
        event_id -> BigInt,
        fingerprint -> Binary,
        created_at -> BigInt,
    }
}

table! {
    webhook_health (webhook_id) {
        webhook_id -> BigInt,
        failing_since -> BigInt,
        failures -> Integer,
    }
}

table! {
    webhook_successes (webhook_id) {
        webhook_id -> BigInt,
        at -> BigInt,
    }
}

table! {
    ended_sessions (id) {
        id -> Binary,
        token_id -> BigInt,
        began_at -> BigInt,
        ended_until -> BigInt,
        and_earlier -> Bool,
    }
}

table! {
    revoked_portal_links (organization_id, link_id) {
        link_id -> BigInt,
        organization_id -> BigInt,
        revoked_until -> BigInt,
    }
}

table! {
    tokens (id) {
        id -> BigInt,
        hash -> Binary,
        name -> Text,
        scope -> Text,
        organization_id -> Nullable<BigInt>,
        created_at -> BigInt,
        expires_at -> Nullable<BigInt>,
        revoked_at -> Nullable<BigInt>,
    }
}

table! {
    audit_log (id) {
        id -> BigInt,
        at -> BigInt,
        actor -> Text,
        action -> Text,
        resource -> Text,
        details -> Text,
        organization_id -> Nullable<BigInt>,
    }
}

table! {
    settings (key) {
        key -> Text,
        value -> Binary,
    }
}

allow_tables_to_appear_in_same_query!(pending_deliveries, events);
allow_tables_to_appear_in_same_query!(organizations, tokens);
allow_tables_to_appear_in_same_query!(organizations, audit_log);
