-- For a page of a wallet's ledger: by the other keys, the entries of everybody else, or all of this user's, are read.
ALTER TABLE wallet_entries ADD KEY wallet_entries_user (user_id, id);
