<?php echo 'MyApp: ', file_get_contents('note.txt'); ?>
