-- Who wants notifications by e-mail.
CREATE TABLE email_subscriptions (
    user_id          VARCHAR(64)  COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
    subscription_arn VARCHAR(255) NOT NULL,
    created_at       DATETIME(3)  NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
) DEFAULT CHARSET = utf8mb4;
