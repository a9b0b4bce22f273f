-- python -m tests.tools.dialect_statements

CREATE TABLE images (
	id BIGINT NOT NULL IDENTITY, 
	name VARCHAR(255) COLLATE Latin1_General_100_BIN2_UTF8 NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	extension VARCHAR(16) NOT NULL, 
	content_type VARCHAR(64) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	width INTEGER NOT NULL, 
	height INTEGER NOT NULL, 
	s3_key VARCHAR(255) COLLATE Latin1_General_100_BIN2_UTF8 NOT NULL, 
	created_at DATETIME2(6) NOT NULL, 
	last_updated_at DATETIME2(6) NOT NULL, 
	created_by VARCHAR(64) NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT images_size_positive CHECK (size_bytes > 0), 
	CONSTRAINT images_dimensions_positive CHECK (width > 0 AND height > 0), 
	CONSTRAINT images_sha256_hex CHECK (LEN(sha256) = 64), 
	CONSTRAINT images_times_ordered CHECK (created_at <= last_updated_at), 
	UNIQUE (name), 
	UNIQUE (s3_key)
);

CREATE INDEX images_by_last_update ON images (last_updated_at, id);

CREATE TABLE pending_objects (
	s3_key VARCHAR(255) COLLATE Latin1_General_100_BIN2_UTF8 NOT NULL, 
	state VARCHAR(1) NOT NULL, 
	created_at DATETIME2(6) NOT NULL, 
	claimed_at DATETIME2(6) NULL, 
	PRIMARY KEY (s3_key), 
	CONSTRAINT pending_objects_state CHECK (state IN ('U', 'D'))
);

CREATE INDEX pending_objects_by_age ON pending_objects (created_at, s3_key);

CREATE TABLE variants (
	original_key VARCHAR(255) COLLATE Latin1_General_100_BIN2_UTF8 NOT NULL, 
	spec VARCHAR(32) COLLATE Latin1_General_100_BIN2_UTF8 NOT NULL, 
	s3_key VARCHAR(255) COLLATE Latin1_General_100_BIN2_UTF8 NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	content_type VARCHAR(64) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	width INTEGER NOT NULL, 
	height INTEGER NOT NULL, 
	created_at DATETIME2(6) NOT NULL, 
	PRIMARY KEY (original_key, spec), 
	UNIQUE (s3_key)
);

-- images.find_image
SELECT $IMAGE FROM images WHERE images.name = :name;

-- images.lock_image
SELECT $IMAGE FROM images WITH (UPDLOCK, ROWLOCK) WHERE images.name = :name;

-- images.insert_image
INSERT INTO images (name, size_bytes, extension, content_type, sha256, width, height, s3_key, created_at, last_updated_at, created_by) OUTPUT inserted.id VALUES (:name, :size_bytes, :extension, :content_type, :sha256, :width, :height, :s3_key, :created_at, :last_updated_at, :created_by);

-- images.insert_images
INSERT INTO images (name, size_bytes, extension, content_type, sha256, width, height, s3_key, created_at, last_updated_at, created_by) OUTPUT inserted.id VALUES (:name, :size_bytes, :extension, :content_type, :sha256, :width, :height, :s3_key, :created_at, :last_updated_at, :created_by);

-- images.existing_names
SELECT images.name FROM images WHERE images.name IN (__[POSTCOMPILE_names]);

-- images.replace_image
UPDATE images SET sha256=:sha256 WHERE images.name = :its_name AND images.s3_key = :its_key;

-- images.delete_image
DELETE FROM images WHERE images.name = :its_name AND images.s3_key = :its_key;

-- images.list_images
SELECT $IMAGE FROM images ORDER BY images.last_updated_at DESC, images.id DESC OFFSET 0 ROWS FETCH FIRST :limit ROWS ONLY;

-- images.list_images
SELECT $IMAGE FROM images WHERE images.name >= :prefix AND images.name < :end AND images.name >= :value AND (images.name > :value OR images.id > :id) ORDER BY images.name ASC OFFSET 0 ROWS FETCH FIRST :limit ROWS ONLY;

-- images.read_all
SELECT TOP __[POSTCOMPILE_param_1] $IMAGE FROM images WHERE images.id > :id ORDER BY images.id;

-- images.RandomImages.pick
SELECT anon_1.low, anon_1.high, $IMAGE FROM (SELECT (SELECT min(images.id) AS min_1 FROM images) AS low, (SELECT max(images.id) AS max_1 FROM images) AS high) AS anon_1 LEFT OUTER JOIN images ON images.id IN (:draw0, :draw1, :draw2, :draw3, :draw4, :draw5, :draw6, :draw7, :draw8, :draw9, :draw10, :draw11, :draw12, :draw13, :draw14, :draw15);
SELECT count(*) AS count_1 FROM images;
SELECT $IMAGE FROM images ORDER BY images.id OFFSET :offset ROWS FETCH FIRST :param_1 ROWS ONLY;

-- pending_objects.journal_upload
INSERT INTO pending_objects (s3_key, state, created_at, claimed_at) VALUES (:s3_key, :state, :created_at, :claimed_at);

-- pending_objects.journal_deletion
INSERT INTO pending_objects (s3_key, state, created_at, claimed_at) VALUES (:s3_key, :state, :created_at, :claimed_at);

-- pending_objects.journal_uploads
INSERT INTO pending_objects (s3_key, state, created_at, claimed_at) VALUES (:s3_key, :state, :created_at, :claimed_at);

-- pending_objects.has_entry
SELECT :param_1 AS anon_1 FROM pending_objects WHERE pending_objects.s3_key = :s3_key_1;

-- pending_objects.finish_upload
DELETE FROM pending_objects WHERE pending_objects.s3_key = :key AND pending_objects.state = :in_state;

-- pending_objects.finish_uploads
DELETE FROM pending_objects WHERE pending_objects.s3_key IN (__[POSTCOMPILE_keys]) AND pending_objects.state = :state_1;

-- pending_objects.claim_upload
UPDATE pending_objects SET state=:state, claimed_at=:claimed_at WHERE pending_objects.s3_key = :s3_key_1 AND pending_objects.state = :state_1;

-- pending_objects.remove_entry
DELETE FROM pending_objects WHERE pending_objects.s3_key = :key AND pending_objects.state = :in_state;

-- pending_objects.entries_after
SELECT TOP __[POSTCOMPILE_param_1] $ENTRY FROM pending_objects WHERE pending_objects.created_at >= :created_at_1 AND (pending_objects.created_at > :created_at_2 OR pending_objects.s3_key > :s3_key_1) ORDER BY pending_objects.created_at, pending_objects.s3_key;

-- pending_objects.ping
SELECT TOP __[POSTCOMPILE_param_1] :param_2 AS anon_1 FROM pending_objects;

-- references.read_all
SELECT TOP __[POSTCOMPILE_param_1] images.s3_key, images.name, images.size_bytes, images.sha256 FROM images ORDER BY images.s3_key;
SELECT TOP __[POSTCOMPILE_param_1] pending_objects.s3_key, NULL AS anon_1, NULL AS anon__1, NULL AS anon__2 FROM pending_objects ORDER BY pending_objects.s3_key;
SELECT TOP __[POSTCOMPILE_param_1] variants.s3_key, NULL AS anon_1, variants.size_bytes, variants.sha256 FROM variants JOIN images ON images.s3_key = variants.original_key ORDER BY variants.s3_key;

-- references.read_of_key
SELECT images.s3_key, images.name, images.size_bytes, images.sha256 FROM images WHERE images.s3_key = :s3_key_1 UNION ALL SELECT pending_objects.s3_key, NULL AS anon_1, NULL AS anon__1, NULL AS anon__2 FROM pending_objects WHERE pending_objects.s3_key = :s3_key_2 UNION ALL SELECT variants.s3_key, NULL AS anon_1, variants.size_bytes, variants.sha256 FROM variants JOIN images ON images.s3_key = variants.original_key WHERE variants.s3_key = :s3_key_3;

-- variants.find_image_with_variants
SELECT $IMAGE, $VARIANT FROM images LEFT OUTER JOIN variants ON variants.original_key = images.s3_key AND variants.spec IN (:spec_0, :spec_1, :spec_2, :spec_3) WHERE images.name = :name;

-- variants.insert_variant
INSERT INTO variants (original_key, spec, s3_key, size_bytes, content_type, sha256, width, height, created_at) VALUES (:original_key, :spec, :s3_key, :size_bytes, :content_type, :sha256, :width, :height, :created_at);

-- variants.delete_variant
DELETE FROM variants WHERE variants.s3_key = :key;

-- variants.delete_variants
SELECT variants.s3_key FROM variants WITH (UPDLOCK, ROWLOCK) WHERE variants.original_key = :original AND variants.spec NOT LIKE :kept;
DELETE FROM variants WHERE variants.original_key = :original AND variants.spec NOT LIKE :kept;

-- variants.unnamed_variants
SELECT variants.s3_key FROM variants WHERE variants.s3_key > :after ORDER BY variants.s3_key OFFSET :param_1 ROWS FETCH FIRST :param_2 ROWS ONLY;
SELECT variants.s3_key FROM variants LEFT OUTER JOIN images ON images.s3_key = variants.original_key WHERE images.id IS NULL AND variants.s3_key > :after AND variants.s3_key <= :s3_key_1;
