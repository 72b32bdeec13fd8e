-- Logging in at an OpenID provider.

-- Whether the owner of the address is known to own the account: the address was proven, or an administrator vouches for it.
ALTER TABLE users ADD COLUMN email_verified BOOLEAN NOT NULL DEFAULT FALSE,
    -- Sessions that began before this are worth nothing.
    ADD COLUMN sessions_since DATETIME(3) NOT NULL DEFAULT '1970-01-01 00:00:00.000';

-- Who somebody is at a provider. OpenID Connect Core 1.0, 2: both are ASCII, a subject has 255 characters at most.
CREATE TABLE identities (
    issuer     VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    subject    VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    user_id    VARCHAR(64)  COLLATE utf8mb4_bin NOT NULL,
    created_at DATETIME(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    PRIMARY KEY (issuer, subject),
    KEY identities_user (user_id)
) DEFAULT CHARSET = utf8mb4;
