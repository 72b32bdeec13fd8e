-- An address is compared letter by letter: without this, josé@example.com is the account of jose@example.com.
-- Addresses are stored, and asked for, in lower case.
ALTER TABLE users MODIFY email VARCHAR(254) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL;
